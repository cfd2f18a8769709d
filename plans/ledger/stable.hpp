// What a unit's hosts are meant to run, by the ledger: the release of the last rollout that completed, or where a rip cord left most of
// them since. A pure fold. What is done to single hosts (a limit, a limited cord, a repair, a convergence) decides nothing for the others.
#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/net/ledger.hpp"
#include "plans/ledger/rollout_spec.hpp"

namespace ripcord {

struct Stable {
  std::string version, root, carried_by;  // carried_by: the unit's `hosts:`; "" in entries of older ledgers
  Digest manifest;
  std::string rollout;                    // that made it so
  bool by_cord = false;                   // a rip cord went back to it
  std::string undone;                     // the rollout that it undid; "": one with --to
  std::vector<std::string> no_return;     // points of no return that it passed: nothing goes back from it
  std::int64_t seq = 0;                   // of the entry since when it is
  // The rollout that an operation is journalled under which brings a host there later: a rip cord that undoes it takes that host along.
  const std::string& journalled_as() const { return by_cord ? undone : rollout; }
};

// A rollout that completed without all hosts of the unit: --limit, or a plan that takes no rest.
struct Partial {
  std::string version, rollout;
  Digest manifest;
  std::set<std::string> left_out;
  std::int64_t seq = 0;
};

struct UnitStanding {
  std::vector<Stable> stable;                 // oldest first; the last one is in force, the one before it is what it replaced
  std::vector<Partial> partial;               // since then, oldest first
  std::set<Digest> recorded;                  // every release of it that the ledger knows of
  std::set<Digest> open;                      // manifests of rollouts under way
  std::map<std::string, std::int64_t> moved;  // host -> entry of the rip cord that moved it last
  const Stable* now() const { return stable.empty() ? nullptr : &stable.back(); }
  const Stable* before() const;               // what hosts at now() could go back to; null: nothing
};

std::map<std::string, UnitStanding> fold_standing(const std::vector<LedgerEntry>& entries);  // by unit

}  // namespace ripcord
