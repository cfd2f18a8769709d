// Going back on request (forward=false): absolute and compare-and-swap (promise 7). The lock is held from the first look to the
// terminal record, so that any number of them at once come to the same.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "manifests/host/admission.hpp"
#include "manifests/host/bring_up.hpp"
#include "manifests/host/drain.hpp"
#include "manifests/host/halt.hpp"
#include "manifests/host/look_hint.hpp"
#include "manifests/host/operation.hpp"
#include "manifests/host/return_path.hpp"
#include "manifests/host/revert.hpp"
#include "manifests/host/switch_link.hpp"

namespace ripcord {
namespace {

using Context = std::optional<ReleaseContext>;

// A release that may be broken: that is perhaps why we go back.
Context load_if_possible(HostContext& host, const UnitLayout& unit, const std::optional<ReleaseId>& id, const UnitHistory& history) {
  try {
    if (id) return ReleaseContext::load(host, unit, *id, history);
  } catch (const Error&) {
  }
  return std::nullopt;
}

constexpr Millis kBackLockWait{120000};  // another rollback may be watching health under the lock: this one wants to see its end

// Later attempts are for what a second start cures (a port still taken, a file still held), so they come soon and are short.
constexpr Millis kTryAgainWithin{30000}, kLaterDeadline{20000};

bool runs_well(const ReleaseContext& release, const RunningRule& rule) {
  return check_health(release, release.spec.health.healthy_deadline).ok && check_running(release, rule).ok;
}

// Only counted so that a program that dies here each time does not do so for ever; a full disk must not keep the old release down.
void note_attempt(HostContext& host, const UnitLayout& unit, const UnitLock& lock, const std::string& op, int attempt) {
  try {
    Journal(unit).append(host, lock, "ATTEMPT", {{"op", op}, {"attempt", attempt}});
  } catch (const HostFailure& e) {
    if (e.code() != "no_space") throw;
  }
}

}  // namespace

ActivateReply go_on_back(HostContext& host, const UnitLayout& unit, const UnitLock& lock, const std::string& id) {
  ActivateReply reply;
  Journal journal(unit);
  UnitHistory history = fold(journal.records());
  Operation op = *history.find(id);
  auto end = [&](std::string_view kind, const std::string& detail) {
    json::object members{{"op", id}};
    if (!detail.empty()) members["detail"] = detail;
    Journal(unit).append(host, lock, kind, members);
    forget_prepared(placements_of(op.intent));
    ::unlink(next_link(unit, id).c_str());
    std::string trouble = clean_up(host, unit, lock, kind == "NEEDS_OPERATOR");
    OpState found = reply.state = operation_state(host, {unit.unit, unit.root}, id);
    if (!trouble.empty()) reply.state.detail += (found.detail.empty() ? "" : "; ") + trouble;
    return reply;
  };

  CurrentLink current = read_current(unit);
  bool there = stands_at(current, op.state.to, history, op.state.from);
  if (!there && !names(current, op.state.from))
    return end("NEEDS_OPERATOR", fmt::format("'current' names '{}', which is neither where this operation starts nor where it goes",
                                             escape_terminal(current.target)));
  Context running = load_if_possible(host, unit, op.state.from, history), coming;
  if (op.state.to) coming = ReleaseContext::load(host, unit, *op.state.to, history);
  RunningRule rule;
  if (there && op.state.phase == OpPhase::intent) {
    switch_placed(placements_of(op.intent));
    if (coming) rule = rule_of(host, journal.records(), history, *coming);
    if (!coming || runs_well(*coming, rule)) {
      reply.healthy = true;
      return end("CONFIRMED", "");
    }
  }
  Elapsed begin = boot_now();
  rule.not_before = process_start_now();
  if (!there) {
    // Best effort: a release that is being taken back may be too broken to drain.
    if (running && running->spec.drain) {
      note_drained(host, unit, id);
      run_action(*running, *running->spec.drain, "drain", StepGate(host, unit, lock));
      host.event("drained");
    }
    complete_switch(host, unit, lock, op);
    reply.switched = true;
    reply.step_ms["switch"] = (boot_now() - begin).count();
    host.event("activated");
  }
  int attempt = op.attempts;
  do {
    if (attempt == kMaxAttempts) {  // cut short each time: whatever ends this program here would do it again
      reply.healthy = coming && runs_well(*coming, rule_of(host, journal.records(), history, *coming));
      if (reply.healthy) return end("CONFIRMED", "");
      break;
    }
    note_attempt(host, unit, lock, id, ++attempt);
    if (attempt > 1 && coming) coming->spec.health.healthy_deadline = std::min(coming->spec.health.healthy_deadline, kLaterDeadline);
    reply.failed_step.clear(), reply.output.clear();
    bring_up({running ? &*running : nullptr, coming ? &*coming : nullptr, SwitchManner::back, rule, true}, StepGate(host, unit, lock), reply);
    if (reply.healthy) return end("CONFIRMED", "");
  } while (boot_now() - begin < kTryAgainWithin);
  std::string where = op.state.to ? "'current' is on " + op.state.to->folder() + ", but" : std::string("'current' is not ours any more, but");
  std::string what = reply.failed_step.empty() ? std::string("it was cut short each time")
                                               : fmt::format("{} failed: {}", reply.failed_step, reply.output.substr(0, 1000));
  return end("NEEDS_OPERATOR", fmt::format("{} after {} of {} attempts {}; {}", where, attempt, kMaxAttempts, what, how_to_look(unit, coming ? &*coming : nullptr)));
}

ActivateReply go_back(HostContext& host, const ActivateRequest& r, bool onward) {
  std::optional<ForwardGate> gate;
  if (onward) gate.emplace(host);
  UnitLayout unit = host.layout.unit(r.unit);
  UnitLock lock(host, unit, "go back " + r.op, kBackLockWait);
  Journal journal(unit);
  admit(host, lock, journal, r.epoch, r.holder, r.ledger_id, onward);
  UnitHistory history = fold(journal.records());
  if (const Operation* known = history.find(r.op)) {
    if (!known->terminal()) return go_on_back(host, unit, lock, r.op);
    ActivateReply reply;
    reply.state = state_of(*known, host);
    reply.healthy = known->state.phase == OpPhase::confirmed;
    if (reply.healthy && known == history.newest() && is_drained(unit)) reply.state.detail = clean_up(host, unit, lock);  // tried once more
    return reply;
  }
  if (const Operation* open = history.open()) {
    end_open(host, unit, lock, *open, r.op);
    journal = Journal(unit);
    history = fold(journal.records());
  }
  CurrentLink current = read_current(unit);
  bool there = stands_at(current, r.to, history, r.from);
  if (!there) require_from(unit, r, current);
  admit_target(lock, history, r.to, r.ledger_id);
  Context running, coming;
  std::vector<Placement> placed;
  if (r.to) {
    coming = ReleaseContext::load(host, unit, *r.to, history);
    require_intact(host, unit, lock, coming->release);
  }
  if (!there) {
    try {
      if (r.from) running = ReleaseContext::load(host, unit, *r.from, history);
    } catch (const Error&) {  // what is taken back may be broken beyond reading
    }
    placed = plan_placed(running ? &*running : nullptr, coming ? &*coming : nullptr, history);
  }
  journal = Journal(unit);  // putting a release right has journalled, too
  journal.reserve(host, lock);
  journal.append(host, lock, "INTENT", intent_of(r, unit.current, placed));
  std::vector<std::string> kept;
  try {
    if (running) kept = keep_edited(placed, *running);
  } catch (const Error&) {  // a way back that waits for room on a disk is none
  }
  try {
    prepare_placed(placed, coming ? &*coming : nullptr, false);
  } catch (const Error& e) {
    forget_prepared(placed);
    journal.append(host, lock, "FAILED_UNCHANGED", {{"op", r.op}, {"detail", e.what()}});
    throw;
  }
  ActivateReply reply = go_on_back(host, unit, lock, r.op);
  reply.kept = std::move(kept);
  return reply;
}

}  // namespace ripcord
