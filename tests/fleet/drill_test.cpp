// Drills on real hosts: they go back and come forward again, and nothing about the fleet is different afterwards.
#include "tests/support/catch.hpp"
#include "tests/support/fleet_run.hpp"

using namespace ripcord;
using namespace ripcord::test;

TEST_CASE("drills: the way back is walked in each datacenter, a dead-man acts, and the cord still undoes the rollout before them") {
  FleetRun fleet({.hosts = 3});
  WebUnit unit;
  fleet.write_unit("a", unit);
  REQUIRE(fleet.ripcord({"apply", "a/", "-y"}).exit == 0);
  auto none = fleet.ripcord({"drill", "rollback", "web", "-y", "--outside-window", "-m", "friday"});
  CHECK(none.exit == 8);
  CHECK(says(none, "no host of web can be drilled: none runs it well and has a way back"));
  unit.version = "1.1";
  fleet.write_unit("b", unit);
  REQUIRE(fleet.ripcord({"apply", "b/", "-y"}).exit == 0);

  CHECK(fleet.ripcord({"drill", "rollback", "web", "-y", "--outside-window"}).exit == 64);
  auto drill = fleet.ripcord({"drill", "rollback", "web", "--hosts", "1", "--per", "datacenter", "-y", "--outside-window", "-m", "friday"});
  INFO(drill.output);
  CHECK(drill.exit == 0);
  CHECK(fleet.all_run("1.1"));
  for (int i = 1; i <= 3; ++i) CHECK(fleet.count(i, "INTENT") == (i == 1 ? 6 : 4));  // the first one had rehearsed before
  CHECK(says(drill, "web 1.1, rollback drill: completed at "));
  auto report = fleet.ripcord({"drill", "report", "web", "-o", "json"});
  const auto told = parse_json_object(report.output, "report");
  CHECK(get_array(told, "datacenters").size() == 3);
  for (const auto& item : get_array(told, "datacenters"))
    CHECK(get_string(get_object(item.as_object(), "walked"), "to_version") == "1.1");
  CHECK(says(fleet.ripcord({"status"}), "web 1.1: completed at "));  // of the rollout

  auto deadman = fleet.ripcord({"drill", "deadman", "web", "--limit", "host=h2", "-y", "--outside-window", "-m", "friday"});
  INFO(deadman.output);
  CHECK(deadman.exit == 0);
  CHECK(says(deadman, "h2 went back by itself, unconfirmed: "));
  CHECK(fleet.count(2, "REVERTED") == 1);
  CHECK(fleet.all_run("1.1"));
  CHECK(says(fleet.ripcord({"history"}), "deadman drill of web@1.1 on 1 host started, outside the window: friday"));

  auto cord = fleet.ripcord({"rollback", "web", "-y"});
  INFO(cord.output);
  CHECK(cord.exit == 0);
  CHECK(says(cord, "3 hosts returned"));
  CHECK(fleet.all_run("1.0"));
}
