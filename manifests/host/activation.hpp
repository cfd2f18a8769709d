// Switching a unit from one release to another, and back (docs/activation.md; INVARIANTS "Activation on a host").
//
// All calls block, take the unit's lock themselves, and are idempotent by operation id. What a host refuses is a HostFailure
// (fenced, conflict, damaged, missing_release, folder_at_current, running_without_release, cannot_arm, weak_deadman, no_user,
// bad_request, cancelled, busy, ...): nothing was changed beyond what the journal says. A step of the unit that failed (a hook,
// health) is a value in the reply. Progress goes to host.event: "drained", "armed", "activated", "restarted", "healthy".
#pragma once
#include <string>
#include <vector>

#include "manifests/host/host_context.hpp"
#include "manifests/shared/messages.hpp"

namespace ripcord {

// a0-a7; forward=false: going back, compare-and-swap, never armed.
ActivateReply activate(HostContext& host, const ActivateRequest& request);

// a6 and a7 of an operation that is activated and not confirmed. Does not restart what is already proven to run the release.
ActivateReply finish(HostContext& host, const UnitRef& ref, const std::string& op);

// c1, c2. The state tells whether it is confirmed: past the deadline or after a lost race it is not. HostFailure fenced.
OpState confirm(HostContext& host, const UnitRef& ref, const std::string& op, std::int64_t epoch, const std::string& holder);

// By the journal; phase none when the operation is not known here. Takes no lock, changes nothing.
OpState operation_state(HostContext& host, const UnitRef& ref, const std::string& op);

struct Fence {
  std::int64_t epoch = 0;
  std::string holder;
};
// Journals the epoch when it is higher than what was seen; HostFailure fenced when it is lower, or the same with another holder.
// Does not end a pending operation. `ledger_id` may be empty. With `op`, who and why are journalled, and what `current` names as
// what this host is meant to run from now on.
Fence fence(HostContext& host, const FenceRequest& request);
inline Fence fence(HostContext& host, const UnitRef& ref, std::int64_t epoch, const std::string& holder, const std::string& ledger_id) {
  return fence(host, FenceRequest{ref, epoch, holder, ledger_id, {}, {}, {}});
}

struct HealthRound {
  bool healthy = false;
  std::string detail, failed_step, output, log_tail;
};
// One round of the current release's checks, and the running check. Changes nothing.
HealthRound health_round(HostContext& host, const UnitRef& ref);

struct ServiceLog {
  std::string name, log;  // last lines, secrets masked
};
std::vector<ServiceLog> service_logs(HostContext& host, const UnitRef& ref, std::size_t lines);

// "strong" (the init system holds the timer, and acts after a reboot) | "weak" (a detached process).
std::string deadman_strength(const HostContext& host);

// r1 for a unit whose operation is past its deadline or armed in another boot, when nobody else is at it. For every session,
// read-only ones too, before it looks at the unit. True when it acted.
bool execute_overdue(HostContext& host, const UnitRef& ref);

// For every unit of this host, before a session that may write does anything, at boot (`ripcord-host recover`): finishes what no
// live helper owns. Never throws; a unit that cannot be recovered is in the report, and its requests will say why.
struct Recovered {
  std::string unit, op, what;  // what was done, one sentence
};
std::vector<Recovered> recover(HostContext& host);

// `ripcord-host deadman ...`: the process behind an armed operation. `args` without the program and the word "deadman".
// Returns the exit status.
int deadman_main(const std::vector<std::string>& args);

}  // namespace ripcord
