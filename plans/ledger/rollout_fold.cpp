// The fold: what each entry of the ledger makes of a rollout's state. docs/ledger.md lists the kinds.
#include <fmt/format.h>

#include <algorithm>

#include "core/base/error.hpp"
#include "plans/ledger/rollout_state.hpp"

namespace ripcord {

// A host that has not been switched yet is out of the rollout from now on, and no longer counts as one that does not answer. One that
// was goes on: it has a dead-man's clock running.
void RolloutState::apply_quarantine(const json::object& b, bool lifted) {
  const auto name = get_string(b, "host");
  const int i = index(name);
  const bool was = quarantined.contains(name);
  if (lifted) quarantined.erase(name);
  else quarantined[name] = parse_utc(get_string(b, "until")).ms;
  if (i < 0 || was == !lifted) return;
  auto& host = hosts_[static_cast<std::size_t>(i)];
  if (lifted) {
    if (host.phase == HostPhase::unreachable) ++unreachable, host.reason = "its quarantine was lifted";
    return;
  }
  if (host.switched || (host.phase != HostPhase::waiting && host.phase != HostPhase::staged && host.phase != HostPhase::unreachable)) return;
  if (host.phase == HostPhase::unreachable) --unreachable;
  host.reason = fmt::format("quarantined until {} by {}: {}", get_string_or(b, "until", "?"), get_string_or(b, "who", "?"), get_string_or(b, "reason", ""));
  distrusted.erase(i);
  move(i, HostPhase::unreachable);
}

void RolloutState::apply_once(std::string_view kind, const json::object& body) {
  using Phase = OnceState::Phase;
  const auto i = get_int_or(body, "once", -1);
  for (std::size_t n = 0; n < once.size(); ++n) {
    auto& one = once[n];
    bool meant = i == static_cast<std::int64_t>(n);
    if (meant && kind == "once.intent") one.phase = Phase::intended;
    if (meant && kind == "once.done") one.phase = Phase::done;
    if (meant && kind == "once.failed") one.phase = Phase::failed;
    if (meant && kind == "once.unknown") one.phase = Phase::unknown;
    if (meant && kind == "rollout.approved") one.phase = Phase::done, paused = false;  // a person has looked
    if (kind == "rollout.retried" && one.waits()) one.phase = Phase::due;
    if (kind == "rollout.resumed" && one.waits()) one.phase = Phase::intended;  // `check` is asked again
    if (meant) one.reason = get_string_or(body, "reason", "");
  }
}

// What came of a host, or is about to.
void RolloutState::apply_host(std::string_view kind, const json::object& b, WallTime time) {
  int i = index(get_string(b, "host"));
  if (i < 0) return;
  auto& host = hosts_[static_cast<std::size_t>(i)];
  auto& stage = stages_[static_cast<std::size_t>(spec_.hosts[static_cast<std::size_t>(i)].stage)];
  const Millis took(get_int_or(b, "took_ms", time.ms - host.since_ms));
  const bool rehearsal = get_bool_or(b, "rehearsal", false);
  host.since_ms = time.ms;
  if (kind != "host.intent") {  // what was learned of it last
    host.drained = rehearsal ? "" : get_string_or(b, "drained", "");  // a walk goes on, and ends with an undrain of its own
    if (host.drained.empty()) drained.erase(i);
    else drained.insert(i);
    if (get_bool_or(b, "trust", false)) distrusted.insert(i);
    else distrusted.erase(i);
  }
  auto count_failure = [&] {
    if (!host.failed_once) ++failures;
    host.failed_once = true;
    host.walked = false;
    host.reason = get_string_or(b, "reason", "");
  };
  if (kind == "host.staged") {
    host.switched = false;  // also when an intent turned out never to have reached the host
    move(i, quarantined.contains(spec_.hosts[static_cast<std::size_t>(i)].name) ? HostPhase::unreachable : HostPhase::staged);
    stage.last_progress = time;
  } else if (kind == "host.intent") {
    host.op = get_string(b, "op");
    host.going_back = !get_bool(b, "forward");
    host.rehearsing = rehearsal;
    host.lapsing = get_bool_or(b, "lapse", false);
    if (!host.going_back) {
      host.switched = true;  // may be, from here on
      ++host.attempts;
      stage.last_progress = time;
      move(i, HostPhase::activating);
    } else {
      ++host.back_attempts;
      if (rehearsal) stage.last_progress = time;
      move(i, HostPhase::returning);
    }
  } else if (kind == "host.confirmed") {
    host.switched = true;
    host.reason.clear();
    host.forward_took = took;
    move(i, HostPhase::confirmed);
    stage.last_progress = time;
  } else if (kind == "host.failed") {
    count_failure();
    host.switched = get_bool_or(b, "switched", false);
    move(i, HostPhase::failed);
    stage.last_progress = time;
  } else if (kind == "host.unhealthy") {
    count_failure();
    move(i, HostPhase::failed);
  } else if (kind == "host.unreachable") {
    if (host.phase != HostPhase::unreachable && !quarantined.contains(spec_.hosts[static_cast<std::size_t>(i)].name)) ++unreachable;
    host.reason = get_string_or(b, "reason", "");
    move(i, HostPhase::unreachable);
  } else if (kind == "host.unknown") {
    if (host.phase != HostPhase::unknown) ++unreachable;
    host.reason = get_string_or(b, "reason", "");
    move(i, HostPhase::unknown);
    stage.last_progress = time;  // the others go on
  } else if (kind == "host.returned") {
    host.switched = false;
    host.walked = rehearsal;
    if (rehearsal) {  // one step of the walk: the release lies there, and goes forward again
      host.back_took = took;
      host.walk_failed = get_string_or(b, "reason", "");
      host.attempts = host.back_attempts = 0;
      stage.last_progress = time;
    }
    move(i, rehearsal ? HostPhase::staged : HostPhase::returned);
  } else if (kind == "host.lapsed") {
    host.switched = false;
    host.lapsed = true;
    host.attempts = 0;
    move(i, HostPhase::staged);
  } else if (kind == "host.stuck") {
    host.reason = get_string_or(b, "reason", "");
    host.walked = false;
    const auto& plan = spec_.hosts[static_cast<std::size_t>(i)];
    if (rehearsal && plan.from)
      disproof = fmt::format("the way back from {} to {} does not work on {}: {}", plan.to.version, plan.from->version, plan.name, host.reason);
    move(i, HostPhase::stuck);
  }
}

void RolloutState::apply(const LedgerEntry& entry) {
  const auto& b = entry.body;
  if (!concerns_rollout(b, spec_)) return;
  last_seq = std::max(last_seq, entry.seq);
  const auto kind = get_string(b, "kind");
  const WallTime time = parse_utc(get_string(b, "time"));

  if (kind == "fleet.halted" || kind == "rollout.halted") {
    if (ending != Ending::open) return;
    halted = true;
    const auto* halt = find_object(b, "halt");
    halt_why = halt ? halt_from_json(*halt).text() : get_string_or(b, "why", "");
    return;
  }
  if (kind.starts_with("quarantine.")) {
    if (ending == Ending::open) apply_quarantine(b, kind == "quarantine.lifted");
    return;
  }
  if (kind.starts_with("host.")) {
    if (ending == Ending::open) apply_host(kind, b, time);  // else: a process that was fenced off, and did not know it yet
    return;
  }
  auto stage_of = [&]() -> StageState* {
    auto n = get_int_or(b, "stage", -1);
    return n >= 0 && n < static_cast<std::int64_t>(stages_.size()) ? &stages_[static_cast<std::size_t>(n)] : nullptr;
  };
  if (!once.empty()) apply_once(kind, b);
  if (kind == "rollout.started" || kind == "drill.started") {
    began = time;
  } else if (kind == "rollback.proof") {
    auto proof = proof_from_json(b);
    if (auto found = pairs_.find(proof.from); found != pairs_.end() && proof.to == spec_.manifest) found->second.proven_at = proof.at;
    if (int i = index(proof.host); i >= 0) {
      auto& host = hosts_[static_cast<std::size_t>(i)];
      host.walked = false;
      host.drilled = true;
    }
  } else if (kind == "drill.disproved") {
    disproof = fmt::format("the way back from {} to {} does not work on {}: {}", get_string_or(b, "to_version", "?"),
                           get_string_or(b, "from_version", "?"), get_string_or(b, "host", "?"), get_string_or(b, "reason", ""));
    ++failures;
    if (int i = index(get_string_or(b, "host", "")); i >= 0) {
      hosts_[static_cast<std::size_t>(i)].drilled = true;
      move(i, HostPhase::confirmed);
    }
  } else if (kind == "stage.started") {
    if (auto* s = stage_of()) s->started = true, s->started_at = s->last_progress = time;
  } else if (kind == "stage.baking") {
    if (auto* s = stage_of()) s->baking = true, s->bake_from = time;
  } else if (kind == "stage.passed") {
    if (auto* s = stage_of()) s->passed = true, s->baking = false;
  } else if (kind == "rollout.approved") {
    if (auto* s = stage_of()) s->approved = true;
  } else if (kind == "rollout.promoted") {
    if (auto* s = stage_of()) s->promoted = true;
  } else if (kind == "rollout.paused") {
    paused = true;
    pause_why = get_string_or(b, "why", "");
    pause_by = get_string_or(b, "by", "person");
  } else if (kind == "rollout.resumed") {
    paused = halted = false;
    pause_why.clear();
    halt_why.clear();
    for (auto& s : stages_) s.last_progress = time;  // waiting for a person is not a lack of progress
  } else if (kind == "rollout.aborted") {
    aborted = true;
    paused = false;
    rollback_why = get_string_or(b, "why", "");
  } else if (kind == "rollout.rolling_back") {
    rolling_back = true;
    paused = false;
    rollback_why = get_string_or(b, "why", "");
  } else if (kind == "rollout.retried") {
    paused = false;
    disproof.clear();
    for (const auto& name : get_strings_or_empty(b, "hosts")) {
      int i = index(name);
      if (i < 0) continue;
      auto& host = hosts_[static_cast<std::size_t>(i)];
      drained.erase(i);  // what comes next ends with an undrain
      if (host.phase == HostPhase::unreachable && quarantined.contains(name)) {
        if (is_quarantined(name, time)) continue;
        quarantined.erase(name);
        ++unreachable;
      }
      if (host.phase == HostPhase::unreachable) --unreachable, move(i, HostPhase::waiting);
      else if (host.phase == HostPhase::unknown) --unreachable, move(i, host.going_back ? HostPhase::returning : HostPhase::activating);
      else if (host.phase == HostPhase::failed && (!host.switched || !spec_.no_return.empty())) move(i, HostPhase::waiting);
      else if (host.phase == HostPhase::returned && !rolling_back) move(i, HostPhase::waiting);
      else if (host.phase == HostPhase::stuck) move(i, HostPhase::returning);
    }
    for (auto& s : stages_)  // a stage whose hosts were owed opens again for them
      if (s.in(HostPhase::waiting) > 0 && s.started) s.passed = s.baking = false, s.last_progress = time;
  } else if (kind == "rollout.ended" || kind == "drill.ended") {
    ended = parse_utc(get_string_or(b, "spooled_at", get_string(b, "time")));
    // The rip cord ends a rollout with what it saw; a host it did not reach may run either release.
    for (const auto& name : get_strings_or_empty(b, "returned")) {
      int i = index(name);
      if (i < 0 || hosts_[static_cast<std::size_t>(i)].phase < HostPhase::activating) continue;
      hosts_[static_cast<std::size_t>(i)].switched = false;
      move(i, HostPhase::returned);
    }
    for (const auto& name : find_array(b, "returned") ? get_strings_or_empty(b, "owed") : std::vector<std::string>()) {
      int i = index(name);
      if (i < 0 || hosts_[static_cast<std::size_t>(i)].phase < HostPhase::activating) continue;
      hosts_[static_cast<std::size_t>(i)].reason = "the rip cord did not reach it";
      move(i, HostPhase::unknown);
    }
    exit_code = static_cast<int>(get_int_or(b, "exit", 0));
    owed = get_strings_or_empty(b, "owed");
    auto outcome = get_string(b, "outcome");
    ending = outcome == "completed"     ? Ending::completed
             : outcome == "rolled_back" ? Ending::rolled_back
             : outcome == "failed"      ? Ending::failed
                                        : Ending::needs_person;
  }
}

bool concerns_rollout(const json::object& body, const RolloutSpec& spec) {
  if (get_string_or(body, "rollout", "") == spec.id) return true;
  const auto kind = get_string_or(body, "kind", "");
  return (kind == "fleet.halted" || kind.starts_with("quarantine.")) && get_string_or(body, "fleet", "") == spec.fleet;
}

std::optional<RolloutState> fold_rollout(const std::vector<LedgerEntry>& entries, const std::string& rollout) {
  std::optional<RolloutState> state;
  for (const auto& e : entries) {
    if (state) {
      state->apply(e);
      continue;
    }
    if (get_string_or(e.body, "rollout", "") != rollout) continue;
    const auto kind = get_string(e.body, "kind");
    if (kind == "rollout.started" || kind == "drill.started") state.emplace(rollout_spec_from_json(get_object(e.body, "spec")));
    if (state) state->apply(e);
  }
  return state;
}

}  // namespace ripcord
