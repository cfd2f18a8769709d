// c1 and c2, and the small requests about an operation.
#include <fmt/format.h>

#include "manifests/host/admission.hpp"
#include "manifests/host/bring_up.hpp"
#include "manifests/host/drain.hpp"
#include "manifests/host/operation.hpp"
#include "manifests/host/revert.hpp"

namespace ripcord {
namespace {

constexpr Millis kShortWait{20000};

}  // namespace

OpState operation_state(HostContext& host, const UnitRef& ref, const std::string& op) {
  UnitHistory history = fold(Journal(host.layout.unit(ref)).records());
  const Operation* found = history.find(op);
  return found ? state_of(*found, host) : OpState{.op = op};
}

OpState confirm(HostContext& host, const UnitRef& ref, const std::string& op, std::int64_t epoch, const std::string& holder) {
  if (host.read_only) throw HostFailure("read_only", "this session may only read");
  UnitLayout unit = host.layout.unit(ref);
  // A way back that is under way holds the lock for as long as it takes: who comes too late need not wait for that.
  OpState seen = operation_state(host, ref, op);
  if (seen.phase == OpPhase::reverting) return seen;
  std::optional<UnitLock> lock;
  lock.emplace(host, unit, "confirm " + op, kShortWait);
  Journal journal(unit);
  admit(host, *lock, journal, epoch, holder, "", false);
  UnitHistory history = fold(journal.records());
  const Operation* found = history.find(op);
  if (!found || found->state.phase != OpPhase::activated || !found->state.forward || history.open() != found) {
    OpState state = found ? state_of(*found, host) : OpState{.op = op};
    // Confirmed before: what could not be cleaned up then is tried again.
    if (state.phase == OpPhase::confirmed && found == history.newest() && is_drained(unit)) state.detail = clean_up(host, unit, *lock);
    return state;
  }
  if (!why_overdue(host, unit, *found).empty()) {
    lock.reset();
    revert_overdue(host, unit, Millis(0));  // its dead-man is at it, or gone
    return operation_state(host, ref, op);
  }
  CurrentLink current = read_current(unit);
  if (current.release != found->state.to)
    throw HostFailure("conflict", fmt::format("'current' of unit '{}' names '{}', not '{}': operation '{}' is not confirmed", unit.unit,
                                              escape_terminal(current.target), found->state.to->folder(), op),
                      "somebody changed this host while it was being activated; it goes back by itself at the deadline");
  journal.append(host, *lock, "CONFIRMED", {{"op", op}});
  std::string trouble = clean_up(host, unit, *lock);
  OpState state = operation_state(host, ref, op);
  if (!trouble.empty()) state.detail = trouble;
  return state;
}

Fence fence(HostContext& host, const FenceRequest& request) {
  if (host.read_only) throw HostFailure("read_only", "this session may only read");
  UnitLayout unit = host.layout.unit(request.unit);
  UnitLock lock(host, unit, "fence", kShortWait);
  Journal journal(unit);
  json::object reason;
  if (!request.op.empty()) {
    check_operation_id(request.op);
    reason = {{"op", request.op}, {"who", request.who}, {"why", request.why}, {"intended", to_json(read_current(unit).release)}};
  }
  admit(host, lock, journal, request.epoch, request.holder, request.ledger_id, false, std::move(reason));
  UnitHistory h = fold(journal.records());
  return {h.epoch, h.holder};
}

HealthRound health_round(HostContext& host, const UnitRef& ref) {
  constexpr Millis kLimit{30000};
  UnitLayout unit = host.layout.unit(ref);
  CurrentLink current = read_current(unit);
  HealthRound out;
  if (!current.release) {
    out.failed_step = "running";
    out.detail = current.kind == Observation::Current::none ? "nothing is deployed" : "'current' names no release of ripcord's";
    return out;
  }
  Journal journal(unit);
  UnitHistory history = fold(journal.records());
  auto release = ReleaseContext::load(host, unit, *current.release, history);
  StepOutcome result = check_health(release, kLimit);
  if (result.ok) result = check_running(release, rule_of(host, journal.records(), history, release));
  out.healthy = result.ok;
  if (result.ok) {
    out.detail = fmt::format("{}@{}: {} health checks passed, the running process is this release", unit.unit, current.release->version,
                             release.spec.health.checks.size());
    return out;
  }
  out.failed_step = result.step;
  out.output = result.output;
  out.detail = result.output.substr(0, result.output.find('\n'));
  out.log_tail = log_tails(release, kLogLines);
  return out;
}

std::vector<ServiceLog> service_logs(HostContext& host, const UnitRef& ref, std::size_t lines) {
  UnitLayout unit = host.layout.unit(ref);
  CurrentLink current = read_current(unit);
  std::vector<ServiceLog> out;
  if (!current.release) return out;
  auto release = ReleaseContext::load(host, unit, *current.release, fold(Journal(unit).records()));
  for (const auto& s : release.spec.services) out.push_back({s.name, log_tail(release, s, lines)});
  return out;
}

}  // namespace ripcord
