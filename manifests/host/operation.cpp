#include "manifests/host/operation.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include "manifests/host/return_path.hpp"
#include "manifests/host/revert.hpp"
#include "manifests/host/switch_link.hpp"
#include "manifests/shared/release_name.hpp"

namespace ripcord {
namespace {

std::string shown(const std::optional<ReleaseId>& id) { return id ? "'" + id->folder() + "'" : std::string("nothing"); }

}  // namespace

void require_from(const UnitLayout& unit, const ActivateRequest& r, const CurrentLink& current) {
  using Kind = Observation::Current;
  if (current.kind == Kind::folder)
    throw HostFailure("folder_at_current", fmt::format("'{}' is a real folder, so it cannot be switched", unit.current),
                      "move it away, or take it over with 'import'");
  // Going back from a release whose folder is gone is what going back is for.
  bool from_there = r.forward ? current.release == r.from : names(current, r.from);
  bool fits = r.from ? from_there : current.kind == Kind::none || (r.forward && current.kind != Kind::release);
  if (fits) return;
  std::string there = current.kind == Kind::none ? "nothing" : "'" + escape_terminal(current.target) + "'";
  throw HostFailure("conflict", fmt::format("unit '{}': 'current' names {}, but the operation starts from {}", unit.unit, there, shown(r.from)),
                    "somebody else changed this host; look at it and plan again");
}

void require_recorded(const UnitLayout& unit, const CurrentLink& current, const UnitHistory& history) {
  if (current.kind != Observation::Current::foreign_link || !is_release_folder(current.folder) || !history.order.empty()) return;
  throw HostFailure("state_lost", fmt::format("unit '{}': 'current' names {}, and nothing is recorded here about it: the state folder was emptied, and nobody knows "
                                              "what was started from there; nothing was changed", unit.unit, escape_terminal(current.target)),
                    fmt::format("stop the service, remove '{}', and converge this host", unit.current));
}

json::object intent_of(const ActivateRequest& r, const std::string& current, const std::vector<Placement>& placed) {
  json::object o{{"op", r.op}, {"rollout", r.rollout}, {"forward", r.forward}};
  o["from"] = to_json(r.from);
  o["to"] = to_json(r.to);
  if (r.undo_to) o["undo_to"] = to_json(r.undo_to);
  o["epoch"] = r.epoch, o["holder"] = r.holder, o["ledger_id"] = r.ledger_id;
  o["who"] = r.who, o["why"] = r.why, o["within_ms"] = r.confirm_within_ms;
  o["files"] = to_json(placed);
  if (auto target = read_link(current)) o["from_target"] = *target;  // raw: a foreign link is a way back as well
  return o;
}

void complete_switch(HostContext& host, const UnitLayout& unit, const UnitLock& lock, const Operation& op) {
  const OpState& s = op.state;
  CurrentLink current = read_current(unit);
  UnitHistory history = fold(Journal(unit).records());
  if (!stands_at(current, s.to, history, s.from)) {
    auto target = s.to ? UnitLayout::link_target(s.to->folder()) : foreign_link_before(history, s.from).value_or("");
    if (!target.empty()) {
      make_link(next_link(unit, s.op), target);
      rename_to_current(unit, next_link(unit, s.op));
    } else {
      remove_current(unit);
    }
  }
  switch_placed(placements_of(op.intent));
  Journal(unit).append(host, lock, "ACTIVATED", {{"op", s.op}, {"elapsed_us", boot_now().us}});
}

void end_open(HostContext& host, const UnitLayout& unit, const UnitLock& lock, const Operation& open, const std::string& by) {
  std::string why = fmt::format("operation '{}' ended it", by);
  if (open.state.forward) {
    revert(host, unit, lock, open.state.op, why);
    return;
  }
  go_on_back(host, unit, lock, open.state.op);
}

std::string why_overdue(const HostContext& host, const UnitLayout& unit, const Operation& op) {
  if (!op.state.forward || op.terminal()) return "";
  if (op.state.phase == OpPhase::reverting) return "the way back was cut short";
  auto pending = read_pending(unit);
  bool recorded = pending && pending->op == op.state.op;
  if (!recorded && !op.armed) return "";
  const std::string& boot = recorded ? pending->boot : op.boot;
  Elapsed deadline = recorded ? pending->deadline : op.deadline;
  if (boot != host.boot_id) return "the host was restarted before it was confirmed";
  if (deadline <= host.elapsed()) return fmt::format("not confirmed within {}", format_duration(Millis(op.within_ms)));
  return "";
}

Overdue revert_overdue(HostContext& host, const UnitLayout& unit, Millis lock_wait) {
  auto reason = [&](std::string& op) {
    UnitHistory history = fold(Journal(unit).records());
    const Operation* open = history.open();
    op = open ? open->state.op : "";
    return open ? why_overdue(host, unit, *open) : std::string();
  };
  std::string op;
  if (reason(op).empty()) return Overdue::no;  // without the lock: the common case writes nothing
  try {
    UnitLock lock(host, unit, "way back of " + op, lock_wait);
    std::string why = reason(op);
    if (why.empty()) return Overdue::no;
    revert(host, unit, lock, op, why);
    return Overdue::acted;
  } catch (const HostFailure& e) {
    if (e.code() == "busy") return Overdue::busy;
    throw;
  }
}

bool execute_overdue(HostContext& host, const UnitRef& ref) {
  UnitLayout unit = host.layout.unit(ref);
  if (!exists(unit.journal())) return false;
  return revert_overdue(host, unit, Millis(0)) == Overdue::acted;
}

void require_intact(HostContext& host, const UnitLayout& unit, const UnitLock& lock, const StoredRelease& release) {
  VerifyResult found = verify_release(unit, release, Verify::quick);
  if (found.clean() || heal_release(host, unit, lock, release.id)) return;
  const Finding& first = found.findings.front();
  throw HostFailure("damaged", fmt::format("release {} on this host is damaged: '{}' {} ({}), {} in all; nothing was switched",
                                           release.id.folder(), escape_terminal(first.path), first.kind, first.detail,
                                           found.findings.size() + found.more),
                    "stage it again");
}

}  // namespace ripcord
