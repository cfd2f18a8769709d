// What a unit's stable release replaced is brought to hosts that are about to get it, so that they can go back where the others go back.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "cli/context.hpp"
#include "plans/hosts/host_look.hpp"
#include "plans/ledger/stable.hpp"

namespace ripcord::cli {

// By host: the predecessor as it lies there now. `looks`: of all hosts of the unit, which may have it. A host to which it cannot be
// brought is named in a warning, and is not in the result.
std::map<std::string, ReleaseId> stage_predecessor(Context& context, const UnitRef& unit, const Stable& before, const std::vector<HostLook>& coming,
                                                   const std::vector<HostLook>& looks);

}  // namespace ripcord::cli
