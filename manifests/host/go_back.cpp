// Going back on request (forward=false): absolute and compare-and-swap (promise 7). The lock is held from the first look to the
// terminal record, so that any number of them at once come to the same.
#include <fmt/format.h>
#include <unistd.h>

#include "manifests/host/bring_up.hpp"
#include "manifests/host/drain.hpp"
#include "manifests/host/operation.hpp"
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

bool at(const CurrentLink& current, const std::optional<ReleaseId>& release) {
  return release ? current.release == release : current.kind == Observation::Current::none;
}

bool runs_well(const ReleaseContext& release, const RunningRule& rule) {
  return check_health(release, release.spec.health.healthy_deadline).ok && check_running(release, rule).ok;
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
  bool there = at(current, op.state.to);
  if (!there && !at(current, op.state.from))
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
  bring_up({running ? &*running : nullptr, coming ? &*coming : nullptr, SwitchManner::back, rule, true}, StepGate(host, unit, lock), reply);
  if (reply.healthy) return end("CONFIRMED", "");
  std::string where = op.state.to ? "'current' is on " + op.state.to->folder() + ", but" : std::string("'current' is removed, but");
  return end("NEEDS_OPERATOR", fmt::format("{} {} failed: {}", where, reply.failed_step, reply.output.substr(0, 1000)));
}

}  // namespace ripcord
