// `ripcord rollback UNIT [--to VERSION]`: absolute, compare-and-swap, parallel, health-checked, no bakes, no approvals, no window.
// Needs the fleet file and a link, nothing else: hosts know their own history (plans/rollback/rollback_plan.hpp says who goes where).
//
// Every host of the unit is fenced, so that a rollout that runs elsewhere ends there. A host that somebody moves between the look
// and the fence goes to the target it was given all the same. What a host lacks is brought to it from where it is whole.
#pragma once
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "manifests/release_store.hpp"
#include "plans/files/selector.hpp"
#include "plans/ledger/ledger_nearby.hpp"
#include "plans/rollback/rollback_plan.hpp"

namespace ripcord {

struct RollbackOptions {
  std::optional<std::string> to_version;
  std::optional<Selector> limit;            // switches only these; all are fenced
  std::optional<std::set<std::string>> only;  // names, of --stage: likewise
  bool dry_run = false, skip_missing = false;
  bool hosts_guessed = false;               // nobody here knows which hosts carry the unit: those that never heard of it are left alone
  std::string who, why, holder;
  int max_parallel = 64;
  std::string domain_label;                 // with max_unavailable: at most so many hosts of one value of this label ("": of all) at once
  int max_unavailable = 0;                  // 0: no limit besides max_parallel
  Millis within{900000};                    // bound of one host: its unit's own deadlines end it long before
  Millis ledger_patience{1000};             // what the ledger is given, beside the hosts
  Millis patience{5000};                    // what hosts are given before it goes on without those that have not answered
};

struct RollbackResult {
  std::vector<RollbackLine> lines;
  std::string undone_rollout;               // id, when it undid one
  std::string op;                           // id of this rollback
  std::vector<std::string> owed;            // hosts that were not reached: they owe it
  bool ledger_written = false;
  bool nothing_done = false;                // nobody was to move, and everybody was fenced already
  Exit exit = Exit::done;
};

struct RollbackPlace {                      // what it works with; all outlive it
  Loop& loop;
  Clock& clock;
  HostPorts& ports;
  HostPorts& side;                          // the same hosts, in sessions of their own: for what one gives to another
  const Fleet& fleet;
  LedgerNearby& ledger;
  ReleaseStore& store;
  std::string spool_folder;
};

// Error(Exit::refused) before anything is touched: a target that nobody can give. `on_host` hears of hosts as they are done.
Task<RollbackResult> run_rollback(RollbackPlace place, std::vector<const Host*> hosts, UnitRef unit, RollbackOptions options,
                                  std::function<void(const RollbackLine&)> on_host);

}  // namespace ripcord
