#include "plans/rollout/repair.hpp"

#include <algorithm>

namespace ripcord {
namespace {

constexpr Millis kRepairBake{10000};  // what is being repaired ran on these hosts before

// A host on another release than it was brought to is brought there again: as what it is journalled as says, so that the cord finds one
// rollout on all hosts, and not a newer one on this host alone that ends at what somebody had put there by hand.
void go_past(HostPlan& host, const Observation& seen) {
  if (host.from == host.to || !seen.last_forward) return;
  const auto& brought = *seen.last_forward;
  host.journalled_as = brought.rollout;
  host.undo_to = brought.to == host.to ? (brought.undo_to ? brought.undo_to : brought.from) : std::optional(host.to);
}

}  // namespace

void make_repair(RolloutSpec& spec, const std::vector<HostLook>& looks) {
  for (auto& stage : spec.stages) stage.bake = std::min(stage.bake, kRepairBake), stage.approval = false;
  for (auto& host : spec.hosts) {
    host.unchanged = false;  // it is the right release, and something about it is wrong
    auto look = std::find_if(looks.begin(), looks.end(), [&](const HostLook& l) { return l.host->name == host.name; });
    if (look != looks.end() && look->look) go_past(host, look->look->unit);
  }
  spec.purpose = kRepair;
  spec.left_out.clear();
  spec.once.clear();  // what was to happen once a rollout has happened
}

}  // namespace ripcord
