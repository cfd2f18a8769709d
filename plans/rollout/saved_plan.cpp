#include "plans/rollout/saved_plan.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "core/base/files.hpp"

namespace ripcord {
namespace {

constexpr std::string_view kMark = "{\"ripcord_plan\":1,";

json::object body_of(const RolloutSpec& spec, const std::map<std::string, std::string>& observed) {
  json::object seen;
  for (const auto& [host, print] : observed) seen[host] = print;
  return {{"ripcord_plan", 1}, {"spec", to_json(spec)}, {"observed", std::move(seen)}};
}

}  // namespace

std::string save_plan(const Preflight& preflight) {
  auto body = body_of(preflight.spec, preflight.observed);
  auto digest = sha256(json::serialize(body)).hex();
  body["digest"] = digest;
  return json::serialize(body) + "\n";
}

bool is_saved_plan(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // it may as well be a release of many gigabytes
  std::string start(kMark.size(), '\0');
  return fd && ::read(fd.get(), start.data(), start.size()) == static_cast<ssize_t>(start.size()) && start == kMark;
}

SavedPlan load_saved_plan(const std::string& path) {
  try {
    auto body = parse_json_object(read_file(path), "the plan");
    SavedPlan plan;
    plan.digest = get_string(body, "digest");
    plan.spec = rollout_spec_from_json(get_object(body, "spec"));
    for (const auto& [host, print] : get_object(body, "observed")) plan.observed[std::string(host)] = std::string(print.as_string());
    if (sha256(json::serialize(body_of(plan.spec, plan.observed))).hex() != plan.digest) throw Error("its digest does not match its content");
    return plan;
  } catch (const std::exception& e) {
    throw Error(fmt::format("'{}' is not a saved plan of this version: {}", path, e.what()), "make it again with 'ripcord plan UNIT --save FILE'",
                Exit::invalid_file);
  }
}

std::vector<std::string> changed_since(const SavedPlan& plan, const Preflight& now) {
  std::vector<std::string> changed;
  for (const auto& [host, before] : plan.observed) {
    auto found = now.observed.find(host);
    if (found == now.observed.end()) {
      changed.push_back(fmt::format("{}: it was reachable when the plan was made, and is not now", host));
    } else if (found->second != before) {
      auto folder = [](const std::string& print) { return print.substr(0, print.find(' ')); };
      if (folder(before) != folder(found->second)) changed.push_back(fmt::format("{}: ran {} when the plan was made, runs {} now", host, folder(before), folder(found->second)));
      else changed.push_back(fmt::format("{}: something was done to it since the plan was made (its journal has grown)", host));
    }
  }
  for (const auto& [host, print] : now.observed)
    if (!plan.observed.contains(host)) changed.push_back(fmt::format("{}: it was not part of the plan", host));
  return changed;
}

}  // namespace ripcord
