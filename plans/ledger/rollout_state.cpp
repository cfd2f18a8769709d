#include "plans/ledger/rollout_state.hpp"

#include <algorithm>
#include <array>

namespace ripcord {
namespace {

constexpr std::array<std::string_view, kHostPhases> kPhaseNames{"waiting",     "staged",  "activating", "confirmed", "failed",
                                                                "unreachable", "unknown", "returning",  "returned",  "stuck"};

std::size_t slot_of(HostPhase p) { return static_cast<std::size_t>(p); }

// Hosts that do not serve, or may not: also those that somebody is about to switch, or to take back for a rehearsal.
int unavailable(const HostState& h) {
  if (h.phase == HostPhase::staged || h.phase == HostPhase::confirmed) return h.busy;
  return h.phase == HostPhase::activating || h.phase == HostPhase::failed || h.phase == HostPhase::unknown ||
         h.phase == HostPhase::returning || h.phase == HostPhase::stuck;
}

int leaving(const HostState& h) { return h.phase == HostPhase::returning || (h.phase == HostPhase::confirmed && h.busy); }

}  // namespace

std::string_view to_text(HostPhase phase) { return kPhaseNames[slot_of(phase)]; }

std::string_view to_text(Ending ending) {
  switch (ending) {
    case Ending::open: return "open";
    case Ending::completed: return "completed";
    case Ending::rolled_back: return "rolled back";
    case Ending::failed: return "failed";
    case Ending::needs_person: return "needs a person";
  }
  return "open";
}

RolloutState::RolloutState(RolloutSpec spec) : spec_(std::move(spec)), hosts_(spec_.hosts.size()), stages_(spec_.stages.size()) {
  for (int i = 0; i < static_cast<int>(spec_.hosts.size()); ++i) {
    const auto& plan = spec_.hosts[static_cast<std::size_t>(i)];
    by_name_[plan.name] = i;
    if (plan.away) away_.push_back(i);
    auto& stage = stages_[static_cast<std::size_t>(plan.stage)];
    auto& host = hosts_[static_cast<std::size_t>(i)];
    host.phase = plan.unchanged || !spec_.drill.empty() ? HostPhase::confirmed : HostPhase::waiting;  // a drill begins where it ends
    stage.idle[slot_of(host.phase)].insert(i);
    ++stage.count[slot_of(host.phase)];
    ++stage.total;
  }
  find_pairs();
  once.resize(spec_.once.size());
  for (const auto& l : spec_.left_out)
    if (l.until_ms != 0) quarantined[l.host] = l.until_ms;
}

bool RolloutState::is_quarantined(const std::string& host, WallTime now) const {
  auto found = quarantined.find(host);
  return found != quarantined.end() && now.ms < found->second;
}

void RolloutState::find_pairs() {
  for (int i = 0; i < static_cast<int>(spec_.hosts.size()); ++i) {
    const auto& plan = spec_.hosts[static_cast<std::size_t>(i)];
    if (plan.unchanged || !plan.from || plan.from->manifest == spec_.manifest || !spec_.no_return.empty()) continue;
    if (std::find(spec_.unproven.begin(), spec_.unproven.end(), plan.from->version) != spec_.unproven.end()) continue;
    auto& pair = pairs_[plan.from->manifest];
    pair.from = *plan.from;
    if (plan.stage == 0) pair.first_stage.push_back(i);
    else ++pair.later;
  }
  for (const auto& proof : spec_.proofs)
    if (auto found = pairs_.find(proof.from); found != pairs_.end() && proof.to == spec_.manifest) found->second.proven_at = proof.at;
}

const PairState* RolloutState::pair_of(int host) const {
  const auto& plan = spec_.hosts[static_cast<std::size_t>(host)];
  if (plan.unchanged || !plan.from) return nullptr;
  auto found = pairs_.find(plan.from->manifest);
  return found == pairs_.end() ? nullptr : &found->second;
}

int RolloutState::current_stage() const {
  for (int i = 0; i < static_cast<int>(stages_.size()); ++i)
    if (!stages_[static_cast<std::size_t>(i)].passed) return i;
  return static_cast<int>(stages_.size());
}

int RolloutState::index(const std::string& host) const {
  auto found = by_name_.find(host);
  return found == by_name_.end() ? -1 : found->second;
}

int RolloutState::count(HostPhase p) const {
  int n = 0;
  for (const auto& stage : stages_) n += stage.in(p);
  return n;
}

void RolloutState::move(int i, HostPhase to) {
  auto& host = hosts_[static_cast<std::size_t>(i)];
  const auto& plan = spec_.hosts[static_cast<std::size_t>(i)];
  auto& stage = stages_[static_cast<std::size_t>(plan.stage)];
  stage.idle[slot_of(host.phase)].erase(i);
  --stage.count[slot_of(host.phase)];
  ++stage.count[slot_of(to)];
  if (!host.busy) stage.idle[slot_of(to)].insert(i);
  stage.unavailable[plan.domain] -= unavailable(host), stage.leaving[plan.domain] -= leaving(host);
  host.phase = to;
  stage.unavailable[plan.domain] += unavailable(host), stage.leaving[plan.domain] += leaving(host);
}

void RolloutState::set_busy(int i, bool busy) {
  auto& host = hosts_[static_cast<std::size_t>(i)];
  const auto& plan = spec_.hosts[static_cast<std::size_t>(i)];
  auto& stage = stages_[static_cast<std::size_t>(plan.stage)];
  stage.unavailable[plan.domain] -= unavailable(host), stage.leaving[plan.domain] -= leaving(host);
  host.busy = busy;
  stage.unavailable[plan.domain] += unavailable(host), stage.leaving[plan.domain] += leaving(host);
  auto& idle = stage.idle[slot_of(host.phase)];
  if (busy) idle.erase(i);
  else idle.insert(i);
}

void RolloutState::note_health(int i, bool healthy) {
  auto& host = hosts_[static_cast<std::size_t>(i)];
  host.health_misses = healthy ? 0 : host.health_misses + 1;
}

Exit exit_for(const RolloutState& state) {
  if (state.ending != Ending::open) return static_cast<Exit>(state.exit_code);
  const Exit code = state.halted ? Exit::held : Exit::waiting;
  return state.distrusted.empty() ? code : worst(code, Exit::integrity);
}

std::vector<std::string> holders_of(const RolloutState& state) {
  std::vector<std::string> sure, maybe;
  for (std::size_t i = 0; i < state.hosts().size(); ++i) {
    auto phase = state.hosts()[i].phase;
    bool holds = phase != HostPhase::waiting && phase != HostPhase::unreachable;
    (holds ? sure : maybe).push_back(state.spec().hosts[i].name);
  }
  sure.insert(sure.end(), maybe.begin(), maybe.end());
  return sure;
}

}  // namespace ripcord
