// A network that takes 50 ms there and back: what ripcord asks of it is counted in round trips, which say the same on every machine.
#include <fmt/format.h>

#include "core/base/files.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/delay_proxy.hpp"
#include "tests/support/fleet_run.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

// The first hosts of a fleet, by way of a slow network: a folder with a fleet file of its own.
struct Far {
  std::string folder;
  std::vector<std::unique_ptr<DelayProxy>> wires;

  Far(FleetRun& fleet, int hosts) : folder(fleet.second_folder()) {
    std::string known, yaml = fmt::format("fleet: test\nssh: {{user: root, identity: {}/keys/id_ed25519, known_hosts: known}}\n", fleet.hosts.folder());
    yaml += "labels: {role: web}\ndatacenters:\n  dc:\n    hosts:\n";
    for (int i = 1; i <= hosts; ++i) {
      wires.push_back(std::make_unique<DelayProxy>(fleet.hosts.address(i), fleet.hosts.port(), Millis(25)));
      yaml += fmt::format("      {}: {{address: 127.0.0.1, port: {}}}\n", fleet.hosts.name(i), wires.back()->port());
      auto line = fleet.hosts.host_key_line(i);
      known += fmt::format("[127.0.0.1]:{}{}\n", wires.back()->port(), line.substr(line.find(' ')));
    }
    write_file_durable(folder + "/fleet.yaml", yaml, 0644);
    write_file_durable(folder + "/known", known, 0644);
    write_file_durable(folder + "/plan.yaml", "unit: web\nwindow: none\nstages: [{name: all, hosts: rest, max_parallel: 3}]\n", 0644);
  }
};

// Nothing that listens: hosts have another address here than on their own network.
void write_release(const FleetRun& fleet, const std::string& version) {
  fleet.write("web-" + version + "/code/only", "of " + version + "\n");
  fleet.write("web-" + version + "/unit.yaml", "unit: web\nversion: '" + version + "'\nhosts: all\nhealth: {checks: [{command: [/bin/true]}], min_healthy_time: 0s}\n");
}

bool all_on(const FleetRun& fleet, const std::string& version) {
  for (int i = 1; i <= 3; ++i)
    if (fleet.version(i) != version) return false;
  return true;
}

}  // namespace

TEST_CASE("over a network of 50 ms a host is switched, and is back, within twelve round trips") {
  FleetRun fleet({.hosts = 3});
  for (const char* version : {"1.0", "1.1"}) write_release(fleet, version);
  Far far(fleet, 3);
  auto first = fleet.ripcord({"apply", fleet.folder() + "/web-1.0/", "-y", "--plan", "plan.yaml"}, far.folder);  // brings the host program
  INFO(first.output);
  REQUIRE(first.exit == 0);
  std::vector<std::size_t> before;
  for (const auto& wire : far.wires) before.push_back(wire->round_trips().size());

  auto apply = fleet.ripcord({"apply", fleet.folder() + "/web-1.1/", "-y", "--plan", "plan.yaml", "--unproven", "1.0", "-m", "far"}, far.folder);
  INFO(apply.output);
  REQUIRE(apply.exit == 0);
  CHECK(all_on(fleet, "1.1"));
  for (std::size_t i = 0; i < far.wires.size(); ++i) {
    auto trips = far.wires[i]->round_trips();
    REQUIRE(trips.size() == before[i] + 2);  // one that does it, and a fresh one that confirms
    WARN("round trips: " << trips[before[i]] << ", to confirm " << trips[before[i] + 1]);
    CHECK(trips[before[i]] <= 12);
  }

  auto back = fleet.ripcord({"rollback", "web", "-y"}, far.folder);
  INFO(back.output);
  CHECK(back.exit == 0);
  CHECK(all_on(fleet, "1.0"));
  for (std::size_t i = 0; i < far.wires.size(); ++i) {
    auto trips = far.wires[i]->round_trips();
    REQUIRE(trips.size() == before[i] + 3);  // one connection does it all
    WARN("round trips to go back: " << trips.back());
    CHECK(trips.back() <= 12);
  }
}
