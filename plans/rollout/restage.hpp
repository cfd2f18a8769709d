// Puts damaged releases on hosts right: the release is offered again, the host takes what it still has whole, gets the rest, and
// exchanges the folders in one step. What was there before is kept beside it as evidence (docs/host-layout.md).
#pragma once
#include <string>
#include <vector>

#include "plans/rollout/engine.hpp"

namespace ripcord {

struct RestageJob {
  std::string host;
  UnitRef unit;
  ReleaseId release;               // as the host's journal names it
  const ReleaseOnHand* on_hand = nullptr;
  Labels labels;
  // What came of it:
  std::string kept;                // folder of the evidence on the host; "" when nothing was replaced
  std::string failed;              // why not; "" when the release is whole now
};

// Many hosts at once; never throws for a host.
Task<> restage(Loop& loop, HostPorts& ports, PackSource& packs, std::vector<RestageJob>& jobs, std::size_t width);

}  // namespace ripcord
