// What a rollout is going to do, decided once and written into its first ledger entry: any machine that reads the ledger can
// go on from there. Amounts are resolved to numbers of hosts; a saved plan is this plus what was observed.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "core/base/json.hpp"
#include "manifests/shared/messages.hpp"
#include "plans/files/plan.hpp"
#include "plans/ledger/proof.hpp"

namespace ripcord {

struct StageSpec {
  std::string name;
  int max_parallel = 10;
  bool slow_start = true;
  int max_unavailable = 0;       // per domain; 0: no limit besides max_parallel
  Millis bake{0};
  bool approval = false;
};

struct HostPlan {
  std::string name, datacenter;
  std::string domain;            // value of the label that max_unavailable counts by
  int stage = 0;
  std::optional<ReleaseId> from; // none: nothing deployed yet
  ReleaseId to;
  bool unchanged = false;        // already runs `to`; only looked at
  std::string journalled_as;     // of a drill: the rollout that brought `to`, so that a rip cord still undoes that one
  bool away = false;             // unreachable at preflight: tried again in the last stage, owed otherwise
  std::optional<ReleaseId> undo_to;  // ActivateRequest::undo_to: of a convergence
  std::string host_id;           // as it said when it was looked at: another one later is another machine, or an empty disk
};

// A host that carries the unit and has no part in the rollout.
struct LeftOut {
  std::string host, why;
  std::int64_t until_ms = 0;     // quarantined until then; 0: owed
};

inline constexpr std::string_view kConverge = "converge", kRepair = "repair";

struct RolloutSpec {
  std::string id;                // "r-20261120-120000-ab12"
  std::string fleet, unit, version, root;
  Digest manifest;
  std::vector<StageSpec> stages;
  std::vector<HostPlan> hosts;   // in order of activation within their stage
  std::optional<Window> window;
  bool outside_window = false;
  int max_failures = 1;          // the rollout fails when this many hosts have failed
  int max_unreachable = 0;       // more than this many unreachable hosts pause it
  Millis progress_deadline{600000};
  bool rollback_on_failure = true;
  bool demand_strong_deadman = false;
  bool hotfix = false;
  Millis spread{0};
  Millis confirm_within{0};      // the dead-man's T, computed (activation_bound)
  std::vector<Proof> proofs;     // of pairs that were proven before this rollout began
  std::vector<std::string> unproven;  // versions whose way back nobody walks: waived by name (--unproven)
  Millis proof_valid = kProofValid;
  std::vector<std::string> no_return;  // "orders-db:7": what is replaced cannot read that. Nothing is armed, nothing goes back
  std::vector<OnceSpec> once;          // in order
  std::string drill;                   // plans/rollout/drill.hpp; "": a rollout
  Millis lapse_within{0};              // of the dead-man drill: its T
  std::string purpose;                 // kConverge, kRepair: hosts are brought to what was decided before; "": this decides
  std::string carried_by;              // the unit's `hosts:`; "": not known (an older ledger)
  std::vector<LeftOut> left_out;
  std::string who, why;

  UnitRef unit_ref() const { return {unit, root}; }
};

json::object to_json(const RolloutSpec& spec);
RolloutSpec rollout_spec_from_json(const json::object& o);
json::object started_entry(const RolloutSpec& spec);  // the ledger's `rollout.started`; what overrides a rule is said on top
std::string new_rollout_id(WallTime now);
std::string new_op_id();

}  // namespace ripcord
