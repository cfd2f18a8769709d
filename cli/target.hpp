// What `plan` and `apply` are pointed at, and what they find out about it: release, plan, hosts, preflight.
#pragma once
#include <optional>
#include <string>

#include "cli/args.hpp"
#include "cli/context.hpp"
#include "cli/look.hpp"
#include "plans/files/plan.hpp"
#include "plans/rollout/preflight.hpp"

namespace ripcord::cli {

struct Sealing {
  std::optional<std::string> key;  // sign with it
};

// Seals a unit folder into the store and, when it is new and there is a fleet, notes it in the ledger.
ReleaseStore::Sealed seal_folder(Context& context, const std::string& folder, const Sealing& how);

// UNIT (newest sealed version), UNIT@VERSION, a unit folder (sealed now), a release file (imported now).
Digest resolve_release(Context& context, const std::string& target, const Sealing& how);
// A folder, as opposed to the name of a unit.
bool names_folder(Context& context, const std::string& target);
// Error(Exit::refused) with what there is instead.
Digest find_release(const ReleaseStore& store, const std::string& unit, const std::optional<std::string>& version);

struct PlanOptions {
  std::optional<std::string> plan_file, limit, message, key, unproven, point_of_no_return, also_live;
  bool hotfix = false, outside_window = false;
  void declare(Arguments& a);
  void check() const;  // overriding needs -m
};

// Everything that apply knows before it acts.
struct Prepared {
  ReleaseOnHand release;
  std::string plan_name;  // file, or "ladder"
  std::vector<HostLook> looks;
  Preflight preflight;
  bool set_aside = false;  // the plan's on_drift: running releases that were changed are put right first
  std::int64_t seen = -1;  // the ledger's size before the hosts were looked at
};
Prepared prepare(Context& context, const ReleaseStore& store, const Digest& release, const PlanOptions& options);

// Error(Exit::held) when the unit, or another unit on these hosts, has an open rollout.
void refuse_open_rollouts(Context& context, const std::string& unit, const std::vector<const Host*>& hosts);

// Prints findings; throws the worst blocking one's exit. True when nothing blocks.
void report_findings(Context& context, const Preflight& preflight);

std::vector<const Host*> hosts_of_unit(Context& context, const UnitSpec& unit);

}  // namespace ripcord::cli
