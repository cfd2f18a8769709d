// Rollouts whose beginning the ledger lost: what hosts did of them, and what a person may do about it.
#pragma once
#include <string>
#include <vector>

#include "cli/context.hpp"
#include "plans/ledger/history.hpp"

namespace ripcord::cli {

// "hosts web-[01:02] did operations of r-…, whose beginning the ledger had lost: `ripcord apply web@1.1` …"
std::string lost_text(Context& context, const std::string& unit, const LostRollout& lost);
json::array lost_json(const std::vector<LostRollout>& lost);

}  // namespace ripcord::cli
