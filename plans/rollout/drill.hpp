// Drills: the rehearsal on live hosts. A drill is a rollout that leaves everything as it was: each host goes from the release it runs
// to its way back, is verified there, and comes forward again, one host after another; the `deadman` drill comes forward once
// without being confirmed, and the host has to go back by itself before it comes forward for good.
//
// It is run by the same engine, under the unit's lease, and can be paused, aborted and resumed like a rollout; whatever happens, a
// host that went back comes forward again.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "plans/files/plan.hpp"
#include "plans/rollout/decide.hpp"
#include "plans/rollout/preflight.hpp"

namespace ripcord {

inline constexpr std::string_view kDrillRollback = "rollback", kDrillDeadman = "deadman";

Decision decide_drill(const RolloutState& state, const DecideInput& in);

// How long the dead-man of a drill waits: the service has just run this release well, so it need not have the time of a rollout.
Millis lapse_time(const UnitSpec& unit);

struct DrillChoice {
  std::vector<HostPlan> hosts;                   // in file order; from: the way back, to: what runs
  std::vector<std::string> skipped;              // "web-03: runs 1.0, and most hosts 1.1"
  std::vector<std::string> without;              // values of the label (datacenters) where no host can be drilled
};

// Which hosts: `count` for each value of `label` ("": of all), those whose way back was walked longest ago first. Only hosts that
// run what most run, well, and have a way back.
DrillChoice choose_drill(const std::vector<HostLook>& looks, int count, const std::string& label, const std::vector<Proof>& walked);

// When each datacenter's way back was last walked; nullopt: never.
std::vector<std::pair<std::string, std::optional<Proof>>> last_walks(const Fleet& fleet, const std::vector<Proof>& proofs);

}  // namespace ripcord
