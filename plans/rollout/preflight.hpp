// Reads every host of a plan before anything is promised: reachable, program runs, current release intact (it is the rollback
// target), what it would take. The result becomes a RolloutSpec, and the observations a saved plan is bound to.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "plans/files/contract.hpp"
#include "plans/files/plan.hpp"
#include "plans/hosts/host_look.hpp"
#include "plans/hosts/tree_maker.hpp"
#include "plans/ledger/rollout_spec.hpp"

namespace ripcord {

// Something that forbids the rollout, or that a person should know. `blocks`: apply refuses.
struct PreflightFinding {
  std::string host;     // empty: the whole rollout
  std::string what;
  bool blocks = false;
  Exit exit = Exit::refused;
};

// Identical changes, for `plan`: hosts that go from the same release to the same tree.
struct ChangeGroup {
  std::string from, to;               // "storefront@1.0", "nothing"
  std::vector<std::string> hosts;
  std::uint64_t files_changed = 0, files_added = 0, files_removed = 0;  // 0 when `from`'s manifest is not here
  std::uint64_t bytes = 0;            // upper bound of what a host lacks, uncompressed
  std::vector<std::string> restarts;  // services
};

// A release that is replaced, and what is known of the way back to it.
struct WayBack {
  ReleaseId from;
  std::size_t hosts = 0;
  std::string rehearsed_on;       // the host that walks it first, unless it is proven or waived
  std::optional<Proof> proof;     // unexpired
  bool waived = false;            // --unproven
};

struct Preflight {
  RolloutSpec spec;
  std::vector<PreflightFinding> findings;
  std::vector<ChangeGroup> groups;
  std::vector<WayBack> ways_back;
  std::vector<std::string> no_way_back;     // what cannot be rolled back: hosts with nothing to go back to
  std::map<std::string, std::string> observed;  // host -> fingerprint (running tree, journal sequence and hash)
  std::int64_t highest_epoch = 0;           // seen on any host
  std::uint64_t bytes_to_send = 0;          // upper bound
  Millis estimated{0};
  bool nothing_to_do = false;               // every reachable host runs the release, verified
};

struct PreflightOptions {
  bool hotfix = false, outside_window = false;
  std::string who, why;
  std::vector<Proof> proofs;       // standing ones of the unit, out of the ledger
  ContractView contract;
  std::vector<std::string> unproven;  // VERSION or UNIT@VERSION, whose way back is not to be walked
  std::optional<Selector> limit;   // only these hosts; the others are owed
  bool decided_before = false;     // formats and requirements were judged when the release was rolled out
  std::vector<LeftOut> left_out;   // hosts of the unit that were not looked at: quarantined
  Millis session_establishment{35000};
  std::optional<std::string> ledger_id;   // what a host may say its unit belongs to; "": no ledger yet; nullopt: not asked
};

// Pure: from what was looked at to what will be done.
Preflight make_preflight(const Fleet& fleet, const Plan& plan, const ReleaseOnHand& release, const ReleaseStore& store,
                         const std::vector<HostLook>& looks, const PreflightOptions& options, WallTime now);

}  // namespace ripcord
