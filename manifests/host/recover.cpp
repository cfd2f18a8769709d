// What a helper finds after others died: finished or taken back, unless a live one owns it (the lock tells).
#include <fmt/format.h>

#include "manifests/host/deadman.hpp"
#include "manifests/host/drain.hpp"
#include "manifests/host/operation.hpp"
#include "manifests/host/return_path.hpp"
#include "manifests/host/revert.hpp"
#include "manifests/host/switch_link.hpp"

namespace ripcord {
namespace {

bool needs_recovery(const UnitLayout& unit, const UnitHistory& history) {
  return history.open() || exists(unit.pending()) || is_drained(unit);
}

// Armed and waiting: its switch must live. Empty: it does.
std::string rearm_if_gone(HostContext& host, const UnitLayout& unit, const Operation& op) {
  auto pending = read_pending(unit);
  if (pending && pending->op == op.state.op && is_armed(host, *pending)) return "";
  Pending again = pending && pending->op == op.state.op ? *pending : pending_from(op);
  arm(host, unit, again);
  return "its dead-man switch was gone and is armed again";
}

std::string recover_forward(HostContext& host, const UnitLayout& unit, const UnitLock& lock, const Operation& op) {
  std::string why = why_overdue(host, unit, op);
  if (op.state.phase == OpPhase::intent && why.empty()) {
    if (op.armed && read_current(unit).release == op.state.to) {
      complete_switch(host, unit, lock, op);  // killed between the rename and the journal
      std::string rearmed = rearm_if_gone(host, unit, op);
      return "completed the switch" + (rearmed.empty() ? "" : "; " + rearmed);
    }
    why = "the helper died before the switch";
  }
  if (!why.empty()) {
    OpState s = revert(host, unit, lock, op.state.op, why);
    return fmt::format("{}: {}", why, to_text(s.phase));
  }
  return rearm_if_gone(host, unit, op);
}

std::string recover_unit(HostContext& host, const UnitLayout& unit, std::string& op_id) {
  if (!needs_recovery(unit, fold(Journal(unit).records()))) return "";
  UnitLock lock(host, unit, "recover", Millis(0));
  UnitHistory history = fold(Journal(unit).records());
  const Operation* open = history.open();
  if (open) {
    op_id = open->state.op;
    if (open->state.forward) return recover_forward(host, unit, lock, *open);
    // A rollback that was cut short before its switch changed nothing; after it, what was begun is brought to its end.
    CurrentLink current = read_current(unit);
    bool there = stands_at(current, open->state.to, history, open->state.from);
    if (!there && names(current, open->state.from)) {
      forget_prepared(placements_of(open->intent));
      Journal(unit).append(host, lock, "FAILED_UNCHANGED", {{"op", op_id}, {"detail", "the helper died before the switch"}});
      clean_up(host, unit, lock);
      remove_stale_links(unit, "");
      return "the helper died before the switch: failed_unchanged";
    }
    return fmt::format("going back was cut short, and was finished: {}", to_text(go_on_back(host, unit, lock, op_id).state.phase));
  }
  if (exists(unit.pending()) || (is_drained(unit) && !drainer_is_alive(host, unit))) {
    const Operation* newest = history.newest();
    if (newest && newest->state.phase == OpPhase::needs_operator && !exists(unit.pending())) return "";  // stays drained
    if (newest) op_id = newest->state.op;
    std::string trouble = clean_up(host, unit, lock, newest && newest->state.phase == OpPhase::needs_operator);
    remove_stale_links(unit, "");
    return trouble.empty() ? "removed what an ended operation had left" : trouble;
  }
  return "";
}

}  // namespace

std::vector<Recovered> recover(HostContext& host) {
  std::vector<Recovered> out;
  if (host.read_only) return out;
  for (const auto& ref : known_units(host.layout)) {
    std::string op;
    try {
      std::string what = recover_unit(host, host.layout.unit(ref), op);
      if (!what.empty()) out.push_back({ref.unit, op, what});
    } catch (const HostFailure& e) {
      if (e.code() != "busy") out.push_back({ref.unit, op, std::string("cannot recover: ") + e.what()});
    } catch (const std::exception& e) {
      out.push_back({ref.unit, op, std::string("cannot recover: ") + e.what()});
    }
  }
  return out;
}

}  // namespace ripcord
