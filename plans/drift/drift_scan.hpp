// Asks hosts for a scan, many at once, one session and one exec each.
#pragma once
#include "plans/drift/drift.hpp"
#include "plans/hosts/host_port.hpp"

namespace ripcord {

struct ScanManners {
  bool full = false, low_priority = true;
  std::uint64_t max_rate = 0;
  int threads = 0;
  Millis within{600000};  // a host that is not done by then counts as unreachable
  std::size_t width = 64;
};

// Order as given; never throws for a host. Each host is asked about those of `units` (unit, root) that the ledger names for it, and
// about whatever else lies in their roots; its session is closed behind the answer.
Task<std::vector<HostScan>> scan_hosts(Loop& loop, Clock& clock, HostPorts& ports, std::vector<const Host*> hosts, Intents intents,
                                       std::vector<std::string> units, ScanManners manners);

}  // namespace ripcord
