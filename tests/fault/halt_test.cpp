// The big red switch when much is broken at once: no ledger, and a part of the fleet swallowed by the network (promises 10, 16).
#include <filesystem>

#include "tests/support/catch.hpp"
#include "tests/support/slow_unit.hpp"
#include "tests/support/wired_fleet.hpp"

using namespace ripcord;
using namespace ripcord::test;

TEST_CASE("halt with the ledger gone and a fifth of the hosts black-holed returns in time and names them; once they answer it reaches them", "[halt]") {
  const bool full = long_campaign();
  const int hosts = full ? 50 : 10;
  WiredFleet fleet({.hosts = hosts}, full ? "" : "timeouts: {handshake: 1s}");
  make_dirs(fleet.folder() + "/.ripcord/ledger.db");  // a folder where the ledger should be
  std::vector<std::string> silent;
  for (int i = 3; i <= hosts; i += 5) {
    fleet.wire(i).set({.mode = TcpProxy::Mode::black_hole});
    silent.push_back(fleet.hosts.name(i));
  }
  auto begun = boot_now();
  auto halt = fleet.ripcord({"halt", "-m", "now", "-o", "json"});
  const auto took = boot_now() - begun;
  INFO(halt.output);
  CHECK(halt.exit == 4);
  CHECK(took < Millis(full ? 15000 : 8000));  // 5 s for each step of a session at most, 2 s for the ledger
  total(fmt::format("halt: {} of {} hosts black-holed, no ledger: {}", silent.size(), hosts, format_duration(took)));
  auto line = halt.output.substr(halt.output.find("{\"kind\""));
  auto said = parse_json_object(line.substr(0, line.find('\n')), "halt");
  CHECK_FALSE(get_bool(said, "in_ledger"));
  std::vector<std::string> named;
  for (const auto& lost : get_array(said, "not_acknowledged")) named.push_back(get_string(lost.as_object(), "host"));
  CHECK(named == silent);
  for (int i = 1; i <= hosts; ++i) CHECK(exists(fleet.hosts.seen(i, "/var/lib/ripcord/halt")) == (i % 5 != 3));

  fleet.all({});
  std::filesystem::remove(fleet.folder() + "/.ripcord/ledger.db");
  auto again = fleet.ripcord({"halt", "-m", "now"});
  INFO(again.output);
  CHECK(again.exit == 0);
  for (int i = 1; i <= hosts; ++i) CHECK(exists(fleet.hosts.seen(i, "/var/lib/ripcord/halt")));
}
