// a6: services, health, running check; the same for going forward, finishing, and going back.
#pragma once
#include <optional>

#include "manifests/host/health.hpp"
#include "manifests/host/service.hpp"

namespace ripcord {

struct BringUp {
  const ReleaseContext* running = nullptr;  // what ran before; null: nothing, or it cannot be read any more
  const ReleaseContext* coming = nullptr;   // null: back to nothing
  SwitchManner manner = SwitchManner::forward;
  RunningRule rule;
  bool restart = true;                      // false: it is proven already that the coming release runs
};

// Fills healthy, failed_step, output, log_tail and step_ms of the reply. Ends early when the operation is ended by somebody else
// (the state in the reply says so), or when the controller hangs up while health is watched.
void bring_up(const BringUp& what, const StepGate& gate, ActivateReply& reply);

// What the running check may expect of the release that is current, by the journal.
RunningRule rule_of(const HostContext& host, const std::vector<JournalRecord>& records, const UnitHistory& history,
                    const ReleaseContext& current);

// Only one helper at a time does a6 of a unit: one that lost its controller may still be in a hook. Not the unit's lock, so that it
// never holds up the dead-man. Waits at most `limit`; HostFailure busy.
class StepTurn {
 public:
  StepTurn(const UnitLayout& unit, Millis limit);
  bool waited() const { return waited_; }  // somebody else was at it: look before restarting anything again

 private:
  Fd fd_;
  bool waited_ = false;
};

// The coming release runs already, and we can prove it: no restart is needed.
bool proven_running(const ReleaseContext& release, const RunningRule& rule);

inline constexpr std::size_t kLogLines = 50;

}  // namespace ripcord
