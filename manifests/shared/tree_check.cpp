// What can be said about all trees of a release before any host is known; the sealing person hears it, not the 200th host.
#include <fmt/format.h>

#include <algorithm>

#include "core/base/error.hpp"
#include "manifests/shared/tree.hpp"

namespace ripcord {
namespace {

using Kind = SourceEntry::Kind;

struct Origin {
  std::string group;  // two origins of one group meet on no host, unless they are the same layer
  std::string layer;
  const SourceEntry* source;
};

struct Layers {
  std::map<std::string, std::vector<Origin>> by_path;
  std::vector<std::string> findings;
};

void add_code(Layers& layers, const UnitSpec& spec, const SourceEntry& e) {
  for (const auto& [arch, folder] : spec.code)
    if (e.path.starts_with(folder + "/")) layers.by_path[e.path.substr(folder.size() + 1)].push_back({"code", arch, &e});
}

void add_config(Layers& layers, const UnitSpec& spec, const SourceEntry& e) {
  if (spec.config.empty() || !e.path.starts_with(spec.config + "/")) return;
  auto parts = split(std::string_view(e.path).substr(spec.config.size() + 1), '/');
  const auto& group = parts[0];
  bool common = group == "common", known = common || group == "datacenter" || group == "role" || group == "host";
  std::size_t depth = common ? 1 : 2;  // of the layer's folder
  if (!known || parts.size() < depth || (parts.size() == depth && e.kind != Kind::dir)) {
    bool keeper = parts.back() == ".gitkeep" || parts.back() == ".gitignore";
    if (!keeper && (!known || e.kind != Kind::dir))
      layers.findings.push_back(fmt::format("'{}' is in no layer: '{}' holds common/, datacenter/NAME/, role/NAME/ and host/NAME/",
                                            escape_terminal(e.path), spec.config));
    return;
  }
  if (parts.size() == depth) return;
  std::vector<std::string> rest(parts.begin() + static_cast<std::ptrdiff_t>(depth), parts.end());
  std::string path = "config/" + join(rest, "/");
  if (e.kind == Kind::file && path.ends_with(kTemplateSuffix)) {
    path.resize(path.size() - kTemplateSuffix.size());
    if (path.empty() || path.back() == '/') {
      layers.findings.push_back(fmt::format("'{}' would have no name once rendered", escape_terminal(e.path)));
      return;
    }
  }
  layers.by_path[path].push_back({group, common ? "" : parts[1], &e});
}

bool may_meet(const Origin& a, const Origin& b) { return a.group != b.group || a.layer == b.layer; }

void check_meeting(Layers& layers, const std::string& path, const Origin& a, const Origin& b) {
  if (!may_meet(a, b)) return;
  bool folder_a = a.source->kind == Kind::dir, folder_b = b.source->kind == Kind::dir;
  auto say = [&](std::string_view what) {
    layers.findings.push_back(fmt::format("'{}' and '{}' {} '{}'", escape_terminal(a.source->path), escape_terminal(b.source->path), what,
                                          escape_terminal(path)));
  };
  if (folder_a != folder_b) say("are a folder and a file, and both become");
  else if (!folder_a && (a.group == b.group || a.group == "code" || b.group == "code")) say("both become");
}

void check_template(Layers& layers, const SourceEntry& e, const std::function<std::string(const Digest&)>& object) {
  if (e.size > kMaxTemplate) {
    layers.findings.push_back(fmt::format("template '{}' is {}; at most {} are rendered", escape_terminal(e.path), format_size(e.size),
                                          format_size(kMaxTemplate)));
    return;
  }
  try {
    std::string text = object(e.digest), where = escape_terminal(e.path);
    Labels variables;
    for (auto& name : template_variables(text, where))
      if (name != "release" && name != "current" && name != "shared") variables[name];
    render(text, variables, where);  // says where the three stand
  } catch (const Error& error) {
    layers.findings.push_back(error.what());
  }
}

}  // namespace

std::vector<std::string> check_layers(const Manifest& manifest, const std::function<std::string(const Digest&)>& object) {
  Layers layers;
  for (const auto& e : manifest.entries) {
    add_code(layers, manifest.spec, e);
    add_config(layers, manifest.spec, e);
  }
  std::map<std::string, decltype(layers.by_path)::const_iterator> folded;
  for (const auto& [path, origins] : layers.by_path) {
    for (std::size_t i = 0; i < origins.size(); ++i)
      for (std::size_t j = i + 1; j < origins.size(); ++j) check_meeting(layers, path, origins[i], origins[j]);
    for (const auto& o : origins)
      if (o.group != "code" && o.source->kind == Kind::file && o.source->path.ends_with(kTemplateSuffix))
        check_template(layers, *o.source, object);
    for (const auto& p : manifest.spec.persist)
      if (origins[0].source->kind != Kind::dir && (path == p || path.starts_with(p + "/")))
        layers.findings.push_back(fmt::format("'{}' would lie in the persist folder '{}'", escape_terminal(origins[0].source->path), p));
  }
  for (auto at = layers.by_path.cbegin(); at != layers.by_path.cend() && !manifest.spec.allow_twins; ++at) {
    auto [other, fresh] = folded.emplace(fold_path(at->first), at);
    if (fresh) continue;
    const auto &a = other->second->second, &b = at->second;
    bool meet = std::any_of(a.begin(), a.end(), [&](const auto& x) { return std::any_of(b.begin(), b.end(), [&](const auto& y) { return may_meet(x, y); }); });
    if (meet)
      layers.findings.push_back(fmt::format("'{}' and '{}' become '{}' and '{}', which differ only by case or normal form: the unit does not say allow_twins",
                                            escape_terminal(a[0].source->path), escape_terminal(b[0].source->path),
                                            escape_terminal(other->second->first), escape_terminal(at->first)));
  }
  return std::move(layers.findings);
}

}  // namespace ripcord
