#include "cli/view/rollout_json.hpp"

namespace ripcord::cli {
namespace {

json::object counts_of(const StageState& s) {
  json::object o;
  for (int p = 0; p < kHostPhases; ++p)
    if (s.count[static_cast<std::size_t>(p)] > 0) o[to_text(static_cast<HostPhase>(p))] = s.count[static_cast<std::size_t>(p)];
  return o;
}

const char* word(Waiting w) {
  switch (w) {
    case Waiting::nothing: return "nothing";
    case Waiting::work: return "work";
    case Waiting::bake: return "bake";
    case Waiting::approval: return "approval";
    case Waiting::window: return "window";
    case Waiting::paused: return "paused";
    case Waiting::halted: return "halted";
    case Waiting::ended: return "ended";
  }
  return "nothing";
}

const char* word(Ending e) {
  switch (e) {
    case Ending::open: return "open";
    case Ending::completed: return "completed";
    case Ending::rolled_back: return "rolled_back";
    case Ending::failed: return "failed";
    case Ending::needs_person: return "needs_person";
  }
  return "open";
}

json::value version_or_null(const std::optional<ReleaseId>& r) { return r ? json::value(to_json(*r)) : json::value(nullptr); }

}  // namespace

json::object rollout_json(const RolloutState& s, const Runner& runner, Exit exit, WallTime now) {
  const auto& spec = s.spec();
  auto v = verdict(s, now);
  json::object o{{"rollout", spec.id},
                 {"fleet", spec.fleet},
                 {"unit", spec.unit},
                 {"drill", spec.drill},
                 {"version", spec.version},
                 {"manifest", spec.manifest.hex()},
                 {"verdict", v.text},
                 {"outcome", word(s.ending)},
                 {"waiting", word(v.waiting)},
                 {"exit", static_cast<int>(exit)},
                 {"who", spec.who},
                 {"why", spec.why},
                 {"hotfix", spec.hotfix},
                 {"outside_window", spec.outside_window},
                 {"paused", s.paused},
                 {"halted", s.halted},
                 {"rolling_back", s.rolling_back},
                 {"rollback_why", s.rollback_why},
                 {"failures", s.failures},
                 {"began", format_utc(s.began)}};
  o["no_return"] = to_json_array(spec.no_return);
  o["unproven"] = to_json_array(spec.unproven);
  json::array proofs;
  for (const auto& [from, pair] : s.pairs())
    proofs.push_back(json::object{{"from", to_json(pair.from)}, {"proven", s.proven(pair, now)},
                                  {"at", pair.proven_at ? json::value(format_utc(*pair.proven_at)) : json::value(nullptr)}});
  o["proofs"] = std::move(proofs);
  o["ended"] = s.ending == Ending::open ? json::value(nullptr) : json::value(format_utc(s.ended));
  const int at = s.current_stage();
  o["stage"] =
      at < static_cast<int>(spec.stages.size()) ? json::value(spec.stages[static_cast<std::size_t>(at)].name) : json::value(nullptr);
  json::array stages, hosts;
  for (std::size_t i = 0; i < s.stages().size(); ++i) {
    const auto& st = s.stages()[i];
    json::object one{{"name", spec.stages[i].name}, {"started", st.started}, {"passed", st.passed},    {"baking", st.baking},
                     {"approved", st.approved},     {"hosts", st.total},     {"counts", counts_of(st)}};
    if (st.baking) one["bake_until"] = format_utc(st.bake_from + spec.stages[i].bake);
    stages.push_back(std::move(one));
  }
  for (std::size_t i = 0; i < spec.hosts.size(); ++i) {
    const auto& plan = spec.hosts[i];
    const auto& h = s.hosts()[i];
    json::object one{{"host", plan.name},
                     {"datacenter", plan.datacenter},
                     {"stage", spec.stages[static_cast<std::size_t>(plan.stage)].name},
                     {"phase", to_text(h.phase)}};
    one["from"] = version_or_null(plan.from);
    one["to"] = to_json(plan.to);
    if (plan.unchanged) one["unchanged"] = true;
    if (!h.reason.empty()) one["reason"] = h.reason;
    if (!h.drained.empty()) one["drained"] = h.drained;
    if (!h.op.empty()) one["op"] = h.op;
    hosts.push_back(std::move(one));
  }
  o["stages"] = std::move(stages);
  o["hosts"] = std::move(hosts);
  o["owed"] = to_json_array(owed_hosts(s));
  json::array next;
  for (const auto& step : next_steps(s, runner, now))
    next.push_back(json::object{{"command", "ripcord " + step.command}, {"what", step.what}});
  o["next"] = std::move(next);
  if (runner.alive(now))
    o["runner"] = json::object{{"who", runner.lease->who},
                               {"machine", runner.lease->machine},
                               {"epoch", runner.lease->epoch},
                               {"expires", format_utc(WallTime{runner.lease->expires_ms})}};
  else o["runner"] = nullptr;
  return o;
}

}  // namespace ripcord::cli
