// Hosts that somebody takes out knowingly, for a reason and until a day: forward rollouts leave them out by name, and they count
// neither as unreachable nor as owed. When the time has passed they are owed again. The rip cord reaches for them all the same: what
// runs on a host does not become right because the host is in maintenance.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "core/base/clock.hpp"
#include "core/net/ledger.hpp"

namespace ripcord {

struct Quarantine {
  std::string host, reason, owner, by;  // owner: who brings it back; by: who said so
  WallTime since, until;
  std::string text() const;             // "quarantined until the end of 2026-11-30, owner storage: disk swap"
};
using Quarantines = std::map<std::string, Quarantine>;  // by host

// Pure: the newest word on each host of the fleet. `in_force`: of those only the ones whose time has not passed.
Quarantines fold_quarantines(const std::vector<LedgerEntry>& entries, const std::string& fleet);
Quarantines in_force(Quarantines all, WallTime now);

json::object quarantine_entry(const Quarantine& q, const std::string& fleet);
json::object lifted_entry(const std::string& host, const std::string& fleet, const std::string& why);

// "2027-01-31" (that day included, UTC), "2027-01-31T18:00Z", or a duration from now: "4h", "3d". Error(Exit::usage) otherwise, and for
// what has passed.
WallTime parse_until(const std::string& text, WallTime now);
std::string until_text(WallTime until);  // "the end of 2027-01-31", "2027-01-31 18:00 UTC"

}  // namespace ripcord
