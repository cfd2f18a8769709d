#include "tests/support/wired_fleet.hpp"

#include <fmt/format.h>

namespace ripcord::test {

WiredFleet::WiredFleet(SshdFleetOptions options, const std::string& ssh) : FleetRun(std::move(options)) {
  std::string known;
  for (int i = 1; i <= size(); ++i) {
    wires_.push_back(std::make_unique<TcpProxy>(hosts.port(), hosts.address(i), hosts.address(i)));
    auto line = hosts.host_key_line(i);
    known += fmt::format("[{}]:{}{}\n", hosts.address(i), wires_.back()->port(), line.substr(line.find(' ')));
  }
  write("known", known);
  settings(ssh);
}

void WiredFleet::settings(const std::string& ssh) const {
  std::string yaml = fmt::format("fleet: test\nssh: {{user: root, identity: {}/keys/id_ed25519, known_hosts: known{}}}\nlabels: {{role: web}}\ndatacenters:\n  dc:\n    hosts:\n",
                                 hosts.folder(), ssh.empty() ? "" : ", " + ssh);
  for (int i = 1; i <= size(); ++i)
    yaml += fmt::format("      {}: {{address: {}, port: {}}}\n", hosts.name(i), hosts.address(i), wires_[static_cast<std::size_t>(i - 1)]->port());
  write("fleet.yaml", yaml);
}

void WiredFleet::all(TcpProxy::Fault fault) {
  for (auto& wire : wires_) wire->set(fault);
}

}  // namespace ripcord::test
