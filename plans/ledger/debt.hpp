// Convergence debt: hosts that do not run what their unit's hosts are meant to run, because a rollout or a rip cord missed them, they
// failed, joined since, or stand in for one that is gone. By the ledger and the fleet file alone, and pure: what a host really runs only
// the host knows (plans/rollout/converge.hpp asks it). Debt is paid by a rollout or `converge`, or excused by a quarantine until that ends.
#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include "plans/files/fleet.hpp"
#include "plans/hosts/host_port.hpp"
#include "plans/ledger/drift_intent.hpp"
#include "plans/ledger/quarantine.hpp"
#include "plans/ledger/roster.hpp"
#include "plans/ledger/stable.hpp"

namespace ripcord {

struct Debt {
  enum class Kind {
    away,      // it did not answer a rollout or the rip cord
    failed,    // it answered, and did not take the release
    behind,    // it had no part in the rollout: quarantined then
    joined,    // it matches the unit's `hosts:` and never had the unit
    replaces,  // it stands in for a host that had it
    left_out,  // by --limit, or by a plan that takes no rest: a rollout's business, not a convergence's
    gone,      // it is owed, and is not in the fleet file any more
  };
  Kind kind = Kind::away;
  std::string unit, host, version;  // version: of what it is owed
  Digest manifest;
  std::string why;                  // "it did not answer: …"
  std::string rollout;              // that missed it; may be empty
  std::string text() const;         // "web@1.1: it did not answer: …"
};
std::string_view to_text(Debt::Kind kind);

struct DebtBook {
  std::vector<Debt> owed;     // by unit, then in the order of the fleet file
  std::vector<Debt> excused;  // of hosts in quarantine
  Quarantines quarantines;    // in force
  Quarantines over;           // whose time has passed
  Roster roster;
  std::map<std::string, UnitStanding> units;
  Intents intents;

  std::vector<Debt> of_unit(const std::string& unit) const;
  std::vector<Debt> of_host(const std::string& host) const;
  // What debts of the unit's hosts, also excused ones, may need: the release, its predecessor, and what those hosts were last known to run.
  std::vector<Digest> needed(const std::string& unit) const;
};

// A host of the same name that is not the same any more: another machine, or its disk was emptied. "" when nothing speaks for that.
std::string installed_again(const Intent& intent, const Look& look);

// The rollout as it counts now: what was owed by it and has been paid or excused since no longer is, and its exit code follows. A
// rollout that completed is done when nothing of its unit is owed.
void settle_accounts(RolloutState& state, const DebtBook& book);

DebtBook fold_debts(const std::vector<LedgerEntry>& entries, const Fleet& fleet, WallTime now);

}  // namespace ripcord
