// What a rollout would do, for people and for scripts: stages with hosts, groups of identical changes, budgets in words, ways back.
#pragma once
#include <string>
#include <vector>

#include "cli/view/style.hpp"
#include "plans/rollout/preflight.hpp"

namespace ripcord::cli {

std::vector<std::string> plan_lines(const Preflight& preflight, const std::string& plan_name, WallTime now, const Style& style);
json::object plan_json(const Preflight& preflight, const std::string& plan_name, WallTime now);
// "storefront@1.1 to 12 hosts of fleet demo in 4 stages"
std::string plan_in_short(const Preflight& preflight);
// "stops at the 1st failed host; 1 of 12 may be unreachable"
std::string budget_words(const RolloutSpec& spec);

}  // namespace ripcord::cli
