// What is owed and who is in quarantine, for the commands that show it or act on it.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "cli/context.hpp"
#include "plans/ledger/debt.hpp"

namespace ripcord::cli {

// By the ledger as it is now; nothing when there is no ledger yet (none is made).
DebtBook debts_of(Context& context);

// "web-03: web@1.1: it missed r-…", hosts that are owed the same for the same reason in one line; at most so many, then "and N more".
std::vector<std::string> debt_lines(const std::vector<Debt>& debts, std::size_t most = 20);
// "web-04 quarantined until the end of 2026-11-30, owner storage: disk swap (by ana)"
std::vector<std::string> quarantine_lines(const DebtBook& book);

json::array debts_json(const std::vector<Debt>& debts);
json::object quarantine_json(const Quarantine& quarantine, bool in_force);

// The hosts that may take part in something forward. The others are named: quarantined, retired, replaced.
struct Roll {
  std::vector<const Host*> hosts;
  std::vector<LeftOut> quarantined;
};
Roll without_quarantined(Context& context, const DebtBook& book, std::vector<const Host*> hosts);

}  // namespace ripcord::cli
