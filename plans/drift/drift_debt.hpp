// What convergence debt and quarantines make of a scan, after plans/drift/drift has judged it: pure. A host that never got a unit of its own
// has nothing to differ from, so it is named as owed; whoever is in quarantine is known to be apart.
#pragma once
#include <string>
#include <vector>

#include "plans/drift/drift.hpp"
#include "plans/ledger/debt.hpp"

namespace ripcord {

// Adds a finding `owed` for each debt of a host that answered and does not run the release; says of hosts that were installed again that
// they were; findings on hosts in quarantine become known, and their silence is none. Debts left out by a limit are not drift.
void apply_debts(std::vector<DriftItem>& items, std::vector<HostScan>& scans, const DebtBook& book, const std::vector<std::string>& units);

}  // namespace ripcord
