#include <dirent.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <functional>
#include <memory>

#include "core/base/files.hpp"
#include "manifests/shared/tree.hpp"
#include "manifests/unit_draft.hpp"
#include "manifests/unit_file.hpp"

namespace ripcord {
namespace {

const std::vector<std::string> kLayers{"common", "datacenter", "role", "host"};

bool is_folder(const std::string& path) {
  struct stat st {};
  return ::lstat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}

std::vector<std::string> entries_in(const std::string& folder) {
  std::vector<std::string> names;
  std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(folder.c_str()), ::closedir);
  if (!dir) return names;
  while (const dirent* entry = ::readdir(dir.get())) {
    std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

// Every template below `folder`; `shown` is its path as people know it. Links are not followed.
void each_template(const std::string& folder, const std::string& shown, int depth,
                   const std::function<void(const std::string& path, const std::string& shown)>& visit) {
  if (depth > 40) return;
  for (const auto& name : entries_in(folder)) {
    auto path = folder + "/" + name;
    struct stat st {};
    if (::lstat(path.c_str(), &st) != 0) continue;
    if (S_ISDIR(st.st_mode)) each_template(path, shown + "/" + name, depth + 1, visit);
    if (S_ISREG(st.st_mode) && name.ends_with(kTemplateSuffix)) visit(path, shown + "/" + name);
  }
}

// The files of a unit's folder from which `path` of a release comes, on one host or another.
std::vector<std::string> origins(const std::string& folder, const UnitSpec& spec, const std::string& path) {
  std::vector<std::string> candidates, found;
  for (const auto& [arch, code] : spec.code) candidates.push_back(folder + "/" + code + "/" + path);
  if (!spec.config.empty() && path.starts_with("config/")) {
    auto base = folder + "/" + spec.config + "/", rest = path.substr(6);
    candidates.push_back(base + "common" + rest);
    for (const auto& layer : {"datacenter", "role", "host"})
      for (const auto& value : entries_in(base + layer)) candidates.push_back(base + layer + "/" + value + rest);
    for (auto i = candidates.size(); i-- > 0;) candidates.push_back(candidates[i] + std::string(kTemplateSuffix));
  }
  std::copy_if(candidates.begin(), candidates.end(), std::back_inserter(found), exists);
  return found;
}

void check_programs(const std::string& folder, UnitDraft& draft) {
  for (const auto& [node, program] : draft.programs) {
    if (program.find("${") != std::string::npos) continue;
    auto found = origins(folder, draft.spec, program);
    auto bare = program.find('/') == std::string::npos;
    if (found.empty()) {
      node.error(fmt::format("program '{}' is not in the release{}", program, bare ? "; one of the host needs its absolute path" : ""));
      continue;
    }
    for (const auto& path : found) {
      struct stat st {};
      // A link is judged where it lies on the host; sealing looks at it.
      if (::lstat(path.c_str(), &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 0111) == 0)
        node.error(fmt::format("program '{}' cannot be executed: chmod +x {}", program, shell_quote(path)));
    }
    if (!program.starts_with("config/"))
      for (const auto& [arch, code] : draft.spec.code)
        if (!exists(folder + "/" + code + "/" + program)) node.error(fmt::format("program '{}' is missing in '{}', the code for {}", program, code, arch));
  }
}

void check_layer_names(const std::string& folder, const UnitDraft& draft, const std::function<void(std::string)>& report) {
  auto config = folder + "/" + draft.spec.config;
  for (const auto& name : entries_in(config)) {
    auto shown = draft.spec.config + "/" + name;
    bool known = std::find(kLayers.begin(), kLayers.end(), name) != kLayers.end();
    if (known && is_folder(config + "/" + name)) continue;
    auto near = known ? std::nullopt : did_you_mean(name, kLayers);
    report(fmt::format("'{}' {}", shown,
                       known  ? "is not a folder"
                       : near ? fmt::format("is in no layer, did you mean '{}/{}'?", draft.spec.config, *near)
                              : fmt::format("is in no layer: below {} are common, datacenter, role and host", draft.spec.config)));
  }
}

}  // namespace

void check_folder(const std::string& folder, UnitDraft& draft, YamlFile& file) {
  auto& spec = draft.spec;
  if (!draft.code && is_folder(folder + "/code")) spec.code["any"] = "code";
  if (!draft.config && is_folder(folder + "/config")) spec.config = "config";
  if (!draft.code && !draft.config && spec.code.empty() && spec.config.empty())
    draft.root.error("the unit has neither code nor config: there is no folder 'code' or 'config' beside this file");

  auto at_config = [&](std::string message) {
    if (draft.config) draft.config.error(std::move(message));
    else file.report({}, 0, folder + ": " + message);
  };
  for (const auto& [arch, code] : spec.code)
    if (!code.empty() && !is_folder(folder + "/" + code))
      (draft.code.is_map() ? draft.code.get(arch) : draft.code).error(fmt::format("'{}' is not a folder of this unit", code));
  if (!spec.config.empty() && !is_folder(folder + "/" + spec.config)) {
    at_config(fmt::format("'{}' is not a folder of this unit", spec.config));
    return;
  }
  check_programs(folder, draft);
  for (const auto& [node, path] : draft.sources)
    if (!path.empty() && origins(folder, spec, path).empty()) node.error(fmt::format("'{}' is not in the release", path));
  if (spec.config.empty()) return;
  check_layer_names(folder, draft, at_config);
  each_template(folder + "/" + spec.config, folder + "/" + spec.config, 0, [&](const std::string& path, const std::string& shown) {
    try {
      template_variables(read_file(path, kMaxTemplate), shown);
    } catch (const Error& e) {
      file.report({}, 0, e.message());  // it has its own file:line:col
    }
  });
}

std::vector<TemplateUse> template_uses_in(const std::string& folder, const UnitSpec& spec) {
  std::vector<TemplateUse> uses;
  if (spec.config.empty()) return uses;
  each_template(folder + "/" + spec.config, spec.config, 0, [&](const std::string& path, const std::string& shown) {
    TemplateUse use{shown, template_variables(read_file(path, kMaxTemplate), shown), {}, {}, true};
    auto parts = split(shown.substr(spec.config.size() + 1), '/');
    if (parts.size() > 2 && parts[0] != "common") use.label = parts[0], use.value = parts[1];
    if (!use.variables.empty()) uses.push_back(std::move(use));
  });
  return uses;
}

std::vector<TemplateUse> template_uses(const UnitSpec& spec) {
  std::vector<TemplateUse> uses;
  auto add = [&](const std::string& where, const std::string& text) {
    if (auto variables = template_variables(text, where); !variables.empty()) uses.push_back({where, std::move(variables), {}, {}, false});
  };
  auto argv = [&](const std::string& where, const Argv& arguments) {
    for (const auto& a : arguments) add(where, a);
  };
  auto action = [&](const std::string& where, const std::optional<Action>& a) {
    if (a) argv(where, a->run);
  };
  for (const auto& f : spec.files) add("files: to", f.to);
  for (const auto& s : spec.services) {
    auto of = "service " + s.name + ": ";
    argv(of + "run", s.run);
    add(of + "systemd", s.systemd);
    action(of + "start", s.start);
    action(of + "stop", s.stop);
    action(of + "restart", s.restart);
    action(of + "reload", s.reload);
    add(of + "pidfile", s.pidfile);
    add(of + "log", s.log);
  }
  action("actions: drain", spec.drain);
  action("actions: undrain", spec.undrain);
  for (std::size_t i = 0; i < spec.health.checks.size(); ++i) {
    const auto& c = spec.health.checks[i];
    auto of = fmt::format("health check {}: ", i + 1);
    add(of + (c.kind == HealthCheck::Kind::tcp ? "tcp" : "http"), c.target);
    argv(of + "command", c.command);
    add(of + "contains", c.contains);
  }
  add("running: url", spec.running.url);
  add("running: contains", spec.running.contains);
  return uses;
}

}  // namespace ripcord
