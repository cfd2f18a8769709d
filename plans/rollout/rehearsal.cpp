#include "plans/rollout/rehearsal.hpp"

#include <algorithm>
#include <set>

namespace ripcord {
namespace {

const HostState& host_of(const RolloutState& state, int i) { return state.hosts()[static_cast<std::size_t>(i)]; }
const HostPlan& plan_of(const RolloutState& state, int i) { return state.spec().hosts[static_cast<std::size_t>(i)]; }

bool has_begun(const HostState& h) {
  return h.walked || h.phase == HostPhase::activating || h.phase == HostPhase::confirmed || (h.phase == HostPhase::returning && h.rehearsing);
}

bool can_begin(const HostState& h) { return h.phase == HostPhase::waiting || h.phase == HostPhase::staged; }

// Hosts of any stage that wait to make this pair.
bool waited_for(const RolloutState& state, const Digest& from, int stage) {
  const auto& idle = state.stages()[static_cast<std::size_t>(stage)].idle[static_cast<std::size_t>(HostPhase::staged)];
  return std::any_of(idle.begin(), idle.end(), [&](int i) { return plan_of(state, i).from && plan_of(state, i).from->manifest == from; });
}

}  // namespace

int rehearser(const RolloutState& state, const PairState& pair) {
  // Whoever has begun ends it: a host that comes back meanwhile must not make it two at once.
  for (bool begun : {true, false})
    for (int i : pair.first_stage) {
      const auto& h = host_of(state, i);
      if (!h.failed_once && (begun ? has_begun(h) : can_begin(h))) return i;
    }
  return -1;
}

bool may_switch(const RolloutState& state, int host, WallTime now) {
  const auto* pair = state.pair_of(host);
  return !pair || state.proven(*pair, now) || rehearser(state, *pair) == host;
}

Walks walks_due(const RolloutState& state, WallTime now, bool every, int stage) {
  Walks out;
  for (const auto& [from, pair] : state.pairs()) {
    if (state.proven(pair, now)) continue;
    if (!every && !waited_for(state, from, stage)) continue;
    int i = rehearser(state, pair);
    if (i < 0) {
      if (pair.later > 0 || !every) out.lost.push_back(pair.from.version);
      continue;
    }
    const auto& h = host_of(state, i);
    if (h.phase != HostPhase::confirmed || h.busy) out.under_way = true;
    else if (h.walked) out.proven.push_back(i);
    else out.back.push_back(i);
  }
  return out;
}

Proof proof_of(const RolloutState& state, int i, WallTime now) {
  const auto& plan = plan_of(state, i);
  const auto& host = host_of(state, i);
  Proof p;
  p.from = plan.from->manifest;
  p.to = plan.to.manifest;
  p.from_version = plan.from->version;
  p.to_version = plan.to.version;
  p.host = plan.name;
  p.datacenter = plan.datacenter;
  p.at = now;
  p.forward = host.forward_took;
  p.back = host.back_took;
  return p;
}

void bring_rehearsers_forward(std::vector<std::vector<const Host*>>& stages, const std::map<std::string, Digest>& runs, const Digest& wanted) {
  auto first = std::find_if(stages.begin(), stages.end(), [](const auto& hosts) { return !hosts.empty(); });
  if (first == stages.end()) return;
  std::set<Digest> there{wanted};
  auto is_new = [&](const Host* host) {
    auto found = runs.find(host->name);
    return found != runs.end() && there.insert(found->second).second;
  };
  for (const auto* host : *first) is_new(host);
  for (auto stage = first + 1; stage != stages.end(); ++stage) {
    std::vector<const Host*> stay;
    for (const auto* host : *stage) (is_new(host) ? *first : stay).push_back(host);
    *stage = std::move(stay);
  }
}

}  // namespace ripcord
