// What the rip cord writes down, to the ledger or its spool: pure (docs/ledger.md, rollback.*).
#pragma once
#include <string>
#include <vector>

#include "plans/files/fleet.hpp"
#include "plans/rollback/rollback.hpp"
#include "plans/rollback/rollback_steps.hpp"

namespace ripcord {

// Durable before the first host is told: who is to move, and what every host of the unit is meant to run from now on.
json::object rollback_started(const Fleet& fleet, const RollbackOptions& options, const RollbackOrder& order, const RollbackResult& result,
                              const std::vector<HostRun>& runs);
json::object rollback_intent(const HostRun& h);   // of a host that answered after that
json::object rollback_host(const HostRun& h);     // what came of it
json::object rollback_ended(const RollbackResult& result);
// A rollout that was undone, or was open, is over: whoever runs it reads this and stops.
json::object rollout_closed(const std::string& rollout, const RollbackResult& result, const RollbackOptions& options);

}  // namespace ripcord
