// `ripcord hosts replace OLD NEW`, `hosts retire HOST`, `hosts readmit HOST`: whom the fleet expects, for the ledger.
#pragma once
#include <string>
#include <vector>

#include "cli/context.hpp"

namespace ripcord::cli {

Exit change_roster(Context& context, const std::vector<std::string>& words, const std::string& why);

}  // namespace ripcord::cli
