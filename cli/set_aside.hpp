// Releases that were changed by hand are put right before a rollout or a repair; the edited tree is kept, shown and in the ledger.
#pragma once
#include <string>
#include <vector>

#include "cli/context.hpp"
#include "plans/rollout/restage.hpp"

namespace ripcord::cli {

struct DamagedRelease {
  std::string host;
  UnitRef unit;
  ReleaseId release;
};

// All of one unit, whose lease is held meanwhile. Returns the hosts on which it could not be done, each warned about. Error when a
// release is not in the store of this machine; Error(Exit::held) when another process is at the unit.
std::vector<std::string> set_aside(Context& context, const std::vector<DamagedRelease>& damaged);

}  // namespace ripcord::cli
