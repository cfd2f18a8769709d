// Reads every host of a plan before anything is promised: reachable, program runs, current release intact (it is the rollback
// target), what it would take. The result becomes a RolloutSpec, and the observations a saved plan is bound to.
#pragma once
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "manifests/release_store.hpp"
#include "manifests/shared/tree.hpp"
#include "plans/contract.hpp"
#include "plans/fleet.hpp"
#include "plans/host_port.hpp"
#include "plans/plan.hpp"
#include "plans/rollout_spec.hpp"

namespace ripcord {

struct HostLook {
  const Host* host = nullptr;
  std::optional<Look> look;           // absent: see fault
  std::string fault_name, fault, hint;  // LinkError: name, text, what to do
  LinkFault fault_kind = LinkFault::unreachable;
};

// Looks at hosts, at most `width` at once. Order as given. Never throws for a host.
Task<std::vector<HostLook>> look_at(Loop& loop, HostPorts& ports, std::vector<const Host*> hosts, UnitRef unit, Verify verify,
                                    bool check_process, std::size_t width);

// A release as the controller holds it.
struct ReleaseOnHand {
  Digest digest;
  SealedManifest sealed;
  Manifest manifest;
};
ReleaseOnHand load_release(const ReleaseStore& store, const Digest& digest);

// The tree a host would get. Hosts with the same labels that matter share one computation.
class TreeMaker {
 public:
  TreeMaker(const ReleaseOnHand& release, const ReleaseStore& store);
  const Tree& tree_for(const Host& host, const std::string& arch);

 private:
  const ReleaseOnHand& release_;
  const ReleaseStore& store_;
  std::map<std::string, Tree> by_facts_;
  std::map<Digest, std::string> templates_;
  std::set<std::string> variables_;  // that templates use
  bool has_host_overlays_ = false;
};

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

// A saved plan (ripcord plan -o FILE): {"format":1,"spec":…,"observed":…,"digest":…}.
std::string save_plan(const Preflight& preflight);
struct SavedPlan {
  RolloutSpec spec;
  std::map<std::string, std::string> observed;
  std::string digest;
};
SavedPlan load_saved_plan(const std::string& path);     // Error(Exit::invalid_file)
bool is_saved_plan(const std::string& path);
// The hosts whose fingerprint is not what the plan was bound to, with what changed.
std::vector<std::string> changed_since(const SavedPlan& plan, const Preflight& now);

}  // namespace ripcord
