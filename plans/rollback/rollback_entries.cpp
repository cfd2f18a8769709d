#include "plans/rollback/rollback_entries.hpp"

namespace ripcord {
namespace {

std::string release_text(const std::optional<ReleaseId>& release) { return release ? release->folder() : "nothing"; }
json::value release_json(const std::optional<ReleaseId>& release) {
  if (!release) return nullptr;
  return to_json(*release);
}

// Observed on what they ran before the rollout that was undone.
json::array back_from(const RollbackResult& result) {
  json::array names;
  if (result.undone_rollout.empty()) return names;
  for (const auto& l : result.lines)
    if (l.selected && (l.result == RollbackLine::Result::returned || l.result == RollbackLine::Result::unchanged)) names.push_back(json::value(l.host));
  return names;
}

}  // namespace

json::object rollback_started(const Fleet& fleet, const RollbackOptions& options, const RollbackOrder& order, const RollbackResult& result,
                              const std::vector<HostRun>& runs) {
  json::array moving;
  json::object targets;
  for (const auto& h : runs) {
    if (h.line.result == RollbackLine::Result::returned) moving.push_back(json::value(h.line.host));
    if (h.look.look && !h.stranger) targets[h.line.host] = release_text(h.line.target);
  }
  json::object body{{"kind", "rollback.started"}, {"fleet", fleet.name}, {"undoes", result.undone_rollout}, {"why", options.why}};
  body["hosts"] = std::move(moving);
  body["targets"] = std::move(targets);  // what every host of the unit is meant to run from now on
  body["epoch"] = order.epoch;
  if (options.to_version) body["version"] = *options.to_version;
  return body;
}

json::object rollback_intent(const HostRun& h) {
  return {{"kind", "rollback.intent"}, {"host", h.line.host}, {"from", release_text(h.line.before)}, {"to", release_text(h.line.target)}};
}

json::object rollback_host(const HostRun& h) {
  const auto& line = h.line;
  json::object body{{"kind", "rollback.host"},  {"host", line.host}, {"before", release_text(line.before)},
                    {"after", release_text(line.after)}, {"result", std::string(to_text(line.result))}, {"detail", line.detail}};
  body["release"] = release_json(line.after);
  if (!line.drained.empty()) body["drained"] = line.drained;
  if (!line.after && line.result == RollbackLine::Result::unreachable) body["after"] = "unknown";
  return body;
}

json::object rollback_ended(const RollbackResult& result) {
  return {{"kind", "rollback.ended"}, {"exit", static_cast<int>(result.exit)}, {"owed", to_json_array(result.owed)}};
}

json::object rollout_closed(const std::string& rollout, const RollbackResult& result, const RollbackOptions& options) {
  const bool all = result.exit == Exit::done;
  return {{"kind", "rollout.ended"},
          {"rollout", rollout},
          {"outcome", all ? "rolled_back" : "needs_person"},
          {"exit", static_cast<int>(all ? Exit::failed : result.exit)},
          {"returned", back_from(result)},
          {"owed", to_json_array(result.owed)},
          {"why", "the rip cord was pulled" + (options.why.empty() ? "" : ": " + options.why)}};
}

}  // namespace ripcord
