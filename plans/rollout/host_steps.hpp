// What the engine does to one host, each as one straight-line coroutine that returns the ledger entry to be appended. Nothing is
// decided here: an answer becomes host.staged, host.confirmed, host.failed, host.unreachable, host.unknown, host.returned or
// host.stuck, and only what was read back from the host is claimed.
#pragma once
#include <functional>
#include <string>

#include "core/base/clock.hpp"
#include "plans/hosts/host_port.hpp"
#include "plans/rollout/engine.hpp"

namespace ripcord {

// What a step needs to know about its rollout and its host.
struct StepContext {
  Clock& clock;
  HostPort& port;
  const RolloutSpec& spec;
  const HostPlan& plan;
  std::string op, holder, ledger_id;
  std::int64_t epoch = 0;
  int attempts = 0;  // intents to go forward so far, this one included
  std::function<void(std::string)> on_step;
  std::function<bool()> may_act;   // empty: yes. False: the lease ran out while the host was waited for
  std::function<Task<std::string>(std::string host, ReleaseId release)> mend;  // may be empty
  std::function<void()> on_answer = {};  // of staging: the host has answered; may be empty
};

struct StepResult {
  json::object entry;          // {"kind": "host.…", "host": …, …}
  bool controller_fault = false;  // LinkFault::ours: our credentials, no host is counted
  bool fenced = false;            // somebody else has a higher epoch: stop everything
  std::string why;                // of the two above, and of `halted`
  bool halted = false;            // the host is halted, and so is the rollout; nothing was activated
};

Task<StepResult> stage_step(StepContext c, const ReleaseOnHand& release, Labels labels, PackSource& packs);
Task<StepResult> activate_step(StepContext c, Millis spread);
Task<StepResult> resolve_step(StepContext c);   // c.op: the operation whose outcome is not known
Task<StepResult> go_back_step(StepContext c);   // c.op: a new operation
Task<StepResult> mend_and_go_back_step(StepContext c);  // the same, and makes the way back whole first when it is not
// One step of a rehearsal: the running release is verified, the host goes back, and is verified there: tree, health, process.
Task<StepResult> walk_back_step(StepContext c);
// Of a drill: forward and not confirmed; the host has to go back by itself. under_way: that operation was begun before.
Task<StepResult> lapse_step(StepContext c, bool under_way);
// One look during a bake: no entry when the host is well.
Task<StepResult> health_step(HostPort& port, UnitRef unit, std::string host);
// Forward past a point of no return: not armed, absolute, and never taken back.
Task<StepResult> onward_step(StepContext c);

}  // namespace ripcord
