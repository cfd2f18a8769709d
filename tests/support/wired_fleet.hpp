// Real sshds, each behind a TCP proxy of its own: what ripcord sees of a host goes through a wire that a test can spoil. Hosts keep
// their addresses; only the port in fleet.yaml is the wire's.
#pragma once
#include <memory>
#include <vector>

#include "tests/support/fleet_run.hpp"
#include "tests/support/tcp_proxy.hpp"

namespace ripcord::test {

class WiredFleet : public FleetRun {
 public:
  // ssh: more keys of fleet.yaml's `ssh:`, for example "heartbeat: 200ms"
  explicit WiredFleet(SshdFleetOptions options, const std::string& ssh = "");
  void settings(const std::string& ssh) const;   // fleet.yaml anew
  TcpProxy& wire(int i) { return *wires_.at(static_cast<std::size_t>(i - 1)); }
  void all(TcpProxy::Fault fault);

 private:
  std::vector<std::unique_ptr<TcpProxy>> wires_;
};

}  // namespace ripcord::test
