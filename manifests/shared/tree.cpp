#include "manifests/shared/tree.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <unordered_map>

#include "core/base/error.hpp"
#include "manifests/shared/fields.hpp"

namespace ripcord {
namespace {

using Kind = SourceEntry::Kind;

struct Pick {  // a source entry that this host gets, and where
  const SourceEntry* source = nullptr;
  bool rendered = false;
};

[[noreturn]] void fail(std::string what, std::string hint = {}) { throw Error(std::move(what), std::move(hint), Exit::invalid_file); }

// The entries below a folder: they stand together because entries are sorted ('0' follows '/').
std::pair<std::size_t, std::size_t> range_below(const std::vector<SourceEntry>& entries, const std::string& folder) {
  auto at = [&](const std::string& key) {
    return static_cast<std::size_t>(
        std::lower_bound(entries.begin(), entries.end(), key, [](const SourceEntry& e, const std::string& k) { return e.path < k; }) -
        entries.begin());
  };
  return {at(folder + "/"), at(folder + "0")};
}

const std::string* code_folder(const UnitSpec& spec, const std::string& arch) {
  if (spec.code.empty()) return nullptr;
  auto found = spec.code.find(arch);
  if (found == spec.code.end()) found = spec.code.find("any");
  if (found != spec.code.end()) return &found->second;
  std::vector<std::string> known;
  for (const auto& [name, folder] : spec.code) known.push_back(name);
  fail(fmt::format("unit '{}' has no code for architecture '{}': it has {}", spec.unit, escape_terminal(arch), join(known, ", ")),
       "add a folder for it under code: in unit.yaml, or leave the host out of hosts:");
}

std::vector<std::string> layers_of(const UnitSpec& spec, const Labels& labels) {
  std::vector<std::string> layers{spec.config + "/common"};
  for (const char* label : {"datacenter", "role", "host"}) {
    auto found = labels.find(label);
    if (found == labels.end() || found->second.empty()) continue;
    if (found->second.find('/') != std::string::npos)
      fail(fmt::format("label {} is '{}': it cannot choose a config folder", label, escape_terminal(found->second)));
    layers.push_back(spec.config + "/" + label + "/" + found->second);
  }
  return layers;
}

// config/ of this host, by path in the release.
std::map<std::string, Pick> pick_config(const Manifest& manifest, const Labels& labels) {
  std::map<std::string, Pick> picks;
  if (manifest.spec.config.empty()) return picks;
  for (const auto& layer : layers_of(manifest.spec, labels)) {
    auto [begin, end] = range_below(manifest.entries, layer);
    for (auto i = begin; i < end; ++i) {
      const auto& e = manifest.entries[i];
      std::string_view rest = std::string_view(e.path).substr(layer.size() + 1);
      Pick pick{&e, e.kind == Kind::file && rest.ends_with(kTemplateSuffix)};
      if (pick.rendered) rest.remove_suffix(kTemplateSuffix.size());
      auto [at, fresh] = picks.try_emplace("config/" + std::string(rest), pick);
      if (fresh) continue;
      const auto& other = *at->second.source;
      if ((other.kind == Kind::dir) != (e.kind == Kind::dir))
        fail(fmt::format("'{}' and '{}': one is a folder, the other is not, and both become '{}'", other.path, e.path, at->first));
      if (other.path.starts_with(layer + "/"))
        fail(fmt::format("'{}' and '{}' both become '{}'", other.path, e.path, at->first));
      at->second = pick;
    }
  }
  return picks;
}

TreeEntry plain_entry(const SourceEntry& e, std::string path) {
  return {e.kind, std::move(path), e.mode, e.size, e.digest, e.target, e.digest, false};
}

bool by_path(const TreeEntry& a, const TreeEntry& b) { return a.path < b.path; }

struct PathLess {
  bool operator()(const TreeEntry& e, std::string_view path) const { return e.path < path; }
};

// Replaces what lies at a persist: path (at most empty folders) by the link out of the release.
void add_persist(std::vector<TreeEntry>& entries, const std::string& path) {
  auto end = std::lower_bound(entries.begin(), entries.end(), path + "0", PathLess{});
  auto below = std::lower_bound(entries.begin(), entries.end(), path + "/", PathLess{});
  auto check = [&](const TreeEntry& e) {
    if (e.kind != Kind::dir)
      fail(fmt::format("persist folder '{}' is also in the release: '{}'", escape_terminal(path), e.path),
           "what the service writes and what is released must lie in different folders");
  };
  std::for_each(below, end, check);
  entries.erase(below, end);
  auto at = std::lower_bound(entries.begin(), entries.end(), path, PathLess{});
  TreeEntry link{Kind::link, path, 0777, 0, {}, persist_target(path), {}, false};
  if (at != entries.end() && at->path == path) check(*at), *at = std::move(link);
  else entries.insert(at, std::move(link));
}

// Every folder is an entry, so that its mode is known; nothing lies below what is not a folder.
void add_folders(std::vector<TreeEntry>& entries) {
  std::unordered_map<std::string_view, Kind> known;
  known.reserve(entries.size() * 2);
  for (const auto& e : entries) known.emplace(e.path, e.kind);
  std::set<std::string> missing;
  for (const auto& e : entries) {
    std::string_view path = e.path;
    for (auto slash = path.rfind('/'); slash != std::string_view::npos; slash = path.rfind('/')) {
      path = path.substr(0, slash);
      if (auto found = known.find(path); found != known.end()) {
        if (found->second != Kind::dir) fail(fmt::format("'{}' is not a folder, but '{}' lies below it", path, e.path));
        break;
      }
      if (!missing.emplace(path).second) break;
    }
  }
  if (missing.empty()) return;
  for (const auto& path : missing) entries.push_back({Kind::dir, path, 0755, 0, {}, {}, {}, false});
  std::sort(entries.begin(), entries.end(), by_path);
}

}  // namespace

std::vector<Digest> template_objects(const Manifest& manifest, const HostFacts& host) {
  std::set<Digest> objects;
  for (const auto& [path, pick] : pick_config(manifest, host.labels))
    if (pick.rendered) objects.insert(pick.source->digest);
  return {objects.begin(), objects.end()};
}

Tree make_tree(const Manifest& manifest, const Digest& manifest_digest, const HostFacts& host,
               const std::function<std::string(const Digest&)>& object) {
  const auto& spec = manifest.spec;
  Tree tree{spec.unit, spec.version, manifest_digest, {}, {}};
  auto& entries = tree.entries;
  if (const auto* folder = code_folder(spec, host.arch)) {
    auto [begin, end] = range_below(manifest.entries, *folder);
    entries.reserve(end - begin + 16);
    for (auto i = begin; i < end; ++i)
      entries.push_back(plain_entry(manifest.entries[i], manifest.entries[i].path.substr(folder->size() + 1)));
  }

  Labels variables = host.labels;
  if (!host.arch.empty()) variables["arch"] = host.arch;
  variables["unit"] = spec.unit;
  variables["version"] = spec.version;
  for (const char* path : {"release", "current", "shared"}) variables.erase(path);
  auto code_end = entries.size();
  for (const auto& [path, pick] : pick_config(manifest, host.labels)) {
    auto entry = plain_entry(*pick.source, path);
    if (pick.rendered) {
      std::string text = render(object(pick.source->digest), variables, pick.source->path);
      entry.rendered = true;
      entry.size = text.size();
      entry.digest = sha256(text);
    }
    auto code = std::lower_bound(entries.begin(), entries.begin() + static_cast<std::ptrdiff_t>(code_end), path, PathLess{});
    if (code != entries.begin() + static_cast<std::ptrdiff_t>(code_end) && code->path == path) {
      if (code->kind != Kind::dir || entry.kind != Kind::dir)
        fail(fmt::format("'{}' is in the code and comes from '{}' as well", path, pick.source->path));
      *code = std::move(entry);
    } else {
      entries.push_back(std::move(entry));
    }
  }
  std::sort(entries.begin(), entries.end(), by_path);
  for (const auto& path : spec.persist) add_persist(entries, path);
  add_folders(entries);
  tree.digest = sha256(tree.encode());
  return tree;
}

// Nothing in an entry can hold a control byte (check_release_path, check_release_link), so lines and tabs separate.
std::string Tree::encode() const {
  std::string out = fmt::format("ripcord-tree 1\nunit {}\nversion {}\nmanifest {}\n", unit, version, manifest.hex());
  out.reserve(out.size() + entries.size() * 140);
  for (const auto& e : entries) {
    if (e.kind == Kind::dir) {
      out.append("d ").append(mode_text(e.mode)).append(" ").append(e.path);
    } else if (e.kind == Kind::link) {
      out.append("l ").append(e.path).append("\t").append(e.target);
    } else {
      out.append("f ").append(mode_text(e.mode)).append(" ").append(std::to_string(e.size)).append(" ");
      out.append(e.digest.hex()).append(" ").append(e.path);
    }
    out += "\n";
  }
  return out;
}

std::uint64_t Tree::bytes() const {
  std::uint64_t sum = 0;
  for (const auto& e : entries) sum += e.size;
  return sum;
}

}  // namespace ripcord
