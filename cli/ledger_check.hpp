// Before a rollout goes on: does the ledger know what the hosts know? A ledger that lost entries must not decide.
#pragma once
#include "cli/context.hpp"
#include "plans/rollout/preflight.hpp"
#include "plans/ledger/rollout_state.hpp"

namespace ripcord::cli {

// A blocking finding (Exit::integrity) when some host did an operation that the ledger lacks.
std::vector<PreflightFinding> lost_commits(Context& context, const std::vector<HostLook>& looks, const std::string& unit);

// Asks the hosts of an open rollout, those that answer within a few seconds: an operation may have a deadline running.
// Error(Exit::integrity), or Exit::held when somebody pulled the cord elsewhere. Going back is not asked for anything.
void require_no_lost_commits(Context& context, const RolloutState& state);

}  // namespace ripcord::cli
