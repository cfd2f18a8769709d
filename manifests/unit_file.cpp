#include "manifests/unit_file.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/files.hpp"
#include "manifests/shared/manifest.hpp"
#include "manifests/unit_draft.hpp"

namespace ripcord {
namespace {

constexpr std::string_view kAlphanumeric = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

std::string unit_name(const Yaml& node) {
  return word(node, kLowerLetters, "0123456789-", 48, "a unit's name (lower-case letters, digits and '-', first a letter, at most 48)");
}

std::string version(const Yaml& node) {
  return word(node, kAlphanumeric, "._+-", 64, "a version (letters, digits, '.', '_', '+', '-', at most 64)");
}

void decode_code(const Yaml& node, UnitDraft& draft) {
  if (!node) return;
  if (!node.is_map()) {
    if (auto folder = release_path(node); !folder.empty()) draft.spec.code["any"] = folder;
    return;
  }
  for (const auto& [arch, value] : node.members()) {
    if (arch.empty() || arch.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") != std::string::npos)
      node.error_at_key(arch, fmt::format("'{}' is not an architecture (as `uname -m` says it, or any)", arch));
    draft.spec.code[arch] = release_path(value);
  }
  if (node.members().empty()) node.error("a folder for an architecture, or for any, is missing");
}

void decode_persist(const Yaml& node, UnitDraft& draft) {
  if (!node) return;
  auto& persist = draft.spec.persist;
  for (const auto& item : node.items()) {
    auto path = release_path(item);
    for (const auto& other : persist)
      if (path == other || path.starts_with(other + "/") || other.starts_with(path + "/"))
        item.error(fmt::format("'{}' and '{}' are one within the other", path, other));
    if (path == "config" || path.starts_with("config/")) item.error("config/ is made new by each release, nothing in it can persist");
    if (!path.empty()) persist.push_back(path);
  }
}

void decode_files(const Yaml& node, UnitDraft& draft) {
  if (!node) return;
  for (const auto& item : node.items()) {
    PlacedFile file;
    auto from = item.require("from"), to = item.require("to");
    file.from = release_path(from);
    draft.sources.emplace_back(from, file.from);
    file.to = template_text(to);
    if (!file.to.empty() && (file.to[0] != '/' || file.to.back() == '/')) to.error("the absolute path of a file on the host is needed");
    if (auto v = item.get("owner")) file.owner = owner(v);
    if (auto v = item.get("mode")) file.mode = v.mode();
    auto same = [&](const PlacedFile& other) { return other.to == file.to; };
    if (std::any_of(draft.spec.files.begin(), draft.spec.files.end(), same)) to.error(fmt::format("a second file for '{}'", file.to));
    item.close();
    draft.spec.files.push_back(std::move(file));
  }
}

void decode_formats(const Yaml& node, UnitDraft& draft) {
  if (!node) return;
  constexpr int kMost = 1000000000;
  for (const auto& [name, item] : node.members()) {
    Format format;
    auto reads = item.get("reads"), writes = item.get("writes");
    if (reads)
      for (const auto& n : reads.items(true)) format.reads.insert(static_cast<int>(n.integer(1, kMost)));
    if (writes) format.writes = static_cast<int>(writes.integer(1, kMost));
    if (item.is_map() && !reads && !writes) item.error("a format says which versions it reads, and which it writes");
    item.close();
    draft.spec.formats[name] = format;
  }
}

void decode_requires(const Yaml& node, UnitDraft& draft) {
  if (!node) return;
  if (auto units = node.require("units"))
    for (const auto& [name, value] : units.members()) draft.spec.requires_units[name] = version(value);
  node.close();
}

void decode_drift(const Yaml& node, UnitDraft& draft) {
  if (!node) return;
  if (auto ignore = node.require("ignore"))
    for (const auto& item : ignore.items()) {
      IgnoreRule rule;
      rule.path = item.require("path").string();
      rule.owner = item.require("owner").string();
      rule.reason = item.require("reason").string();
      rule.until = date(item.require("until"));
      item.close();
      draft.spec.drift_ignore.push_back(std::move(rule));
    }
  node.close();
}

UnitDraft decode(YamlFile& file) {
  UnitDraft draft;
  auto root = draft.root = file.root();
  if (!root) return draft;
  auto& spec = draft.spec;
  spec.unit = unit_name(root.require("unit"));
  spec.version = version(root.require("version"));
  spec.hosts = root.require("hosts").string();
  if (auto v = root.get("root")) {
    spec.root = absolute_template(v, true);
    try {
      if (spec.root.size() > 1) check_release_path(std::string_view(spec.root).substr(1));
    } catch (const Error& e) {
      v.error(e.message());
    }
  }
  if (auto v = root.get("owner")) spec.owner = owner(v);
  decode_code(draft.code = root.get("code"), draft);
  if ((draft.config = root.get("config"))) spec.config = release_path(draft.config);
  decode_persist(root.get("persist"), draft);
  decode_files(root.get("files"), draft);
  decode_services(root.get("services"), draft);
  if (auto actions = root.get("actions")) {
    if (auto v = actions.get("drain")) spec.drain = decode_action(v, draft);
    if (auto v = actions.get("undrain")) spec.undrain = decode_action(v, draft);
    if (spec.drain && !spec.undrain) actions.error_at_key("drain", "a unit that drains must say how to undrain");
    actions.close();
  }
  decode_health(root.get("health"), draft);
  decode_running(root.get("running"), draft);
  decode_formats(root.get("formats"), draft);
  decode_requires(root.get("requires"), draft);
  decode_drift(root.get("drift"), draft);
  if (auto v = root.get("secrets"))
    for (const auto& item : v.items()) spec.secrets.push_back(absolute_template(item, true));
  if (auto v = root.get("allow_setuid")) spec.allow_setuid = v.boolean();
  if (auto v = root.get("allow_twins")) spec.allow_twins = v.boolean();
  root.close();
  return draft;
}

}  // namespace

UnitSpec decode_unit(const std::string& name, std::string text) {
  YamlFile file(name, std::move(text));
  auto draft = decode(file);
  file.finish();
  return draft.spec;
}

UnitSpec load_unit(const std::string& given) {
  auto folder = given;
  while (folder.size() > 1 && folder.back() == '/') folder.pop_back();
  auto path = folder + "/unit.yaml";
  if (!exists(path)) throw Error("'" + folder + "' is not a unit: it has no unit.yaml", "ripcord init writes an example", Exit::invalid_file);
  auto file = YamlFile::load(path);
  auto draft = decode(file);
  if (draft.root) check_folder(folder, draft, file);
  file.finish();
  return draft.spec;
}

}  // namespace ripcord
