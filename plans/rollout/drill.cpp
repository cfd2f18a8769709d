#include "plans/rollout/drill.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/error.hpp"
#include "plans/files/host_label.hpp"

namespace ripcord {
namespace {

constexpr int kAttempts = 3;  // to come forward again

// Why this host cannot be drilled; "" when it can.
std::string obstacle(const HostLook& l, const std::optional<ReleaseId>& most) {
  if (!l.look) return l.fault;
  const auto& o = l.look->unit;
  if (!o.running) return "runs no release";
  if (o.running->manifest != most->manifest) return fmt::format("runs {}, and most hosts {}", o.running->version, most->version);
  if (o.tree_state == "damaged") return "its release is damaged";
  if (!o.process_ok) return "is not healthy" + (o.process_detail.empty() ? "" : ": " + o.process_detail);
  if (!o.way_back || o.way_back == o.running || !o.last_forward) return "has no way back";
  if (std::find(o.releases.begin(), o.releases.end(), *o.way_back) == o.releases.end())
    return fmt::format("does not hold {} any more, its way back", o.way_back->version);
  return "";
}

}  // namespace

Millis lapse_time(const UnitSpec& unit) { return unit.health.min_healthy_time + Millis(5000); }

DrillChoice choose_drill(const std::vector<HostLook>& looks, int count, const std::string& label, const std::vector<Proof>& walked) {
  std::map<Digest, std::pair<int, ReleaseId>> runs;
  for (const auto& l : looks)
    if (l.look && l.look->unit.running) {
      auto& [n, release] = runs[l.look->unit.running->manifest];
      ++n;
      release = *l.look->unit.running;
    }
  auto most = std::max_element(runs.begin(), runs.end(), [](const auto& a, const auto& b) { return a.second.first < b.second.first; });
  std::optional<ReleaseId> release;
  if (most != runs.end()) release = most->second.second;

  std::map<std::string, std::int64_t> last;
  for (const auto& p : walked) last[p.host] = std::max(last[p.host], p.at.ms);
  std::vector<std::string> values;
  std::map<std::string, std::vector<std::size_t>> groups;
  DrillChoice out;
  for (std::size_t i = 0; i < looks.size(); ++i) {
    auto value = label_of(*looks[i].host, label);
    if (std::find(values.begin(), values.end(), value) == values.end()) values.push_back(value);
    auto why = obstacle(looks[i], release);
    if (why.empty()) groups[value].push_back(i);
    else out.skipped.push_back(looks[i].host->name + ": " + why);
  }
  std::vector<std::size_t> chosen;
  for (const auto& value : values) {
    auto group = groups[value];
    if (group.empty()) out.without.push_back(value);
    std::stable_sort(group.begin(), group.end(), [&](std::size_t a, std::size_t b) { return last[looks[a].host->name] < last[looks[b].host->name]; });
    group.resize(std::min(group.size(), static_cast<std::size_t>(std::max(0, count))));
    chosen.insert(chosen.end(), group.begin(), group.end());
  }
  std::sort(chosen.begin(), chosen.end());
  for (auto i : chosen) {
    const auto& l = looks[i];
    HostPlan h;
    h.name = l.host->name;
    h.datacenter = l.host->datacenter;
    h.from = l.look->unit.way_back;
    h.to = *l.look->unit.running;
    h.journalled_as = l.look->unit.last_forward->rollout;
    out.hosts.push_back(std::move(h));
  }
  return out;
}

std::vector<std::pair<std::string, std::optional<Proof>>> last_walks(const Fleet& fleet, const std::vector<Proof>& proofs) {
  std::vector<std::pair<std::string, std::optional<Proof>>> out;
  for (const auto& datacenter : fleet.datacenters) {
    std::optional<Proof> last;
    for (const auto& p : proofs)
      if (p.datacenter == datacenter && (!last || last->at < p.at)) last = p;
    out.emplace_back(datacenter, std::move(last));
  }
  return out;
}

namespace {

struct DrillDecider {
  const RolloutState& state;
  const DecideInput& in;
  Decision out{};

  const HostPlan& plan(int i) const { return state.spec().hosts[static_cast<std::size_t>(i)]; }
  void wait(Waiting what, std::string why) { out.waiting = what, out.why = std::move(why); }

  // Hosts whose way back was walked stay so; the first that was not decides what is next.
  void decide() {
    for (int i = 0; i < static_cast<int>(state.hosts().size()); ++i)
      if (!state.hosts()[static_cast<std::size_t>(i)].drilled) return next(i, state.hosts()[static_cast<std::size_t>(i)]);
    end();
  }

  void next(int i, const HostState& h) {
    const bool deadman = state.spec().drill == kDrillDeadman;
    wait(Waiting::work, fmt::format("drilling {}", plan(i).name));
    if (h.busy) return;
    switch (h.phase) {
      case HostPhase::confirmed:
        if (h.walked && !h.walk_failed.empty()) return disproved(i, h);
        if (h.walked && (h.lapsed || !deadman)) return out.actions.push_back(Record{"rollback.proof", to_json(proof(i, h))});
        return begin(i);
      case HostPhase::staged:  // on its way back: it comes forward, whoever paused or aborted
        if (state.halted) return wait(Waiting::halted, "halted");
        if (deadman && !h.lapsed && h.walk_failed.empty()) return out.actions.push_back(Lapse{i});
        return out.actions.push_back(Activate{i});
      case HostPhase::activating: return out.actions.push_back(Resolve{i});
      case HostPhase::returning: return out.actions.push_back(GoBack{i, true});
      case HostPhase::failed:
        if (h.switched || h.attempts >= kAttempts) return end();
        if (state.halted) return wait(Waiting::halted, "halted");
        return out.actions.push_back(Activate{i});
      default: return end();
    }
  }

  void begin(int i) {
    if (state.aborted || state.failures > 0) return end();
    if (state.paused) return wait(Waiting::paused, state.pause_why.empty() ? "paused" : "paused: " + state.pause_why);
    if (state.halted) return wait(Waiting::halted, "halted");
    const auto& spec = state.spec();
    if (spec.window && !spec.outside_window && !spec.window->open(in.now)) {
      out.wake = spec.window->next_open(in.now);
      return wait(Waiting::window, fmt::format("outside the window {}; opens {}", spec.window->text(), format_utc(*out.wake)));
    }
    out.actions.push_back(GoBack{i, true});
  }

  Proof proof(int i, const HostState& h) const {
    Proof p;
    p.from = plan(i).from->manifest;
    p.to = plan(i).to.manifest;
    p.from_version = plan(i).from->version;
    p.to_version = plan(i).to.version;
    p.host = plan(i).name;
    p.datacenter = plan(i).datacenter;
    p.at = in.now;
    p.forward = h.forward_took;
    p.back = h.back_took;
    return p;
  }

  void disproved(int i, const HostState& h) {
    out.actions.push_back(Record{"drill.disproved", {{"host", plan(i).name},
                                                     {"from", plan(i).from->manifest.hex()},
                                                     {"to", plan(i).to.manifest.hex()},
                                                     {"from_version", plan(i).from->version},
                                                     {"to_version", plan(i).to.version},
                                                     {"reason", h.walk_failed}}});
  }

  void end() {
    bool lost = state.count(HostPhase::unknown) + state.count(HostPhase::unreachable) > 0;
    bool elsewhere = state.count(HostPhase::stuck) + state.count(HostPhase::failed) > 0;
    json::array owed;
    std::string why = state.aborted ? "aborted: " + state.rollback_why : state.disproof;
    for (int i = 0; i < static_cast<int>(state.hosts().size()); ++i) {
      const auto& h = state.hosts()[static_cast<std::size_t>(i)];
      if (h.phase != HostPhase::confirmed) owed.push_back(json::value(plan(i).name));
      if (why.empty() && !h.reason.empty()) why = plan(i).name + ": " + h.reason;
    }
    bool well = state.failures == 0 && !state.aborted && owed.empty();
    Exit code = elsewhere ? Exit::mixed : lost ? Exit::unreachable : well ? Exit::done : Exit::failed;
    if (!state.distrusted.empty()) code = worst(code, Exit::integrity);
    out.actions.push_back(Record{"drill.ended", {{"outcome", elsewhere || lost ? "needs_person" : well ? "completed" : "failed"},
                                                 {"exit", static_cast<int>(code)},
                                                 {"why", why},
                                                 {"owed", std::move(owed)}}});
    wait(Waiting::work, "ending the drill");
  }
};

}  // namespace

Decision decide_drill(const RolloutState& state, const DecideInput& in) {
  DrillDecider d{state, in};
  d.decide();
  return std::move(d.out);
}

}  // namespace ripcord
