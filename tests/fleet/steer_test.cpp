// Other terminals steer a rollout that a process is running.
#include <signal.h>
#include <unistd.h>

#include "core/base/clock.hpp"
#include "core/base/files.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/fleet_run.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

int intents(const FleetRun& fleet) {
  int n = 0;
  for (int i = 1; i <= fleet.size(); ++i) n += fleet.count(i, "INTENT");
  return n;
}

}  // namespace

TEST_CASE("from another terminal: pause holds within a second, resume, promote and approve go on, and the process ends by itself") {
  FleetRun fleet({.hosts = 8});
  fleet.write_plan(
      "unit: web\nstages:\n  - {name: wide, hosts: 6, max_parallel: 1}\n  - {name: long-bake, hosts: 1, bake: 1h}\n"
      "  - {name: gate, hosts: rest, approval: true}\nwindow: none\n");
  WebUnit unit;
  unit.health = "  interval: 100ms\n  min_healthy_time: 500ms\n  healthy_deadline: 20s\n";
  fleet.write_unit("web", unit);
  auto apply = fleet.start({"apply", "web/", "-y"}, "apply.log");
  auto log = [&] { return fleet.output("apply.log"); };
  REQUIRE(eventually([&] { return intents(fleet) >= 1; }));

  auto pause = fleet.ripcord({"pause", "web", "-m", "wait a moment"});
  INFO(pause.output);
  REQUIRE(pause.exit == 0);
  CHECK(pause.output.find("which hears it at once") != pause.output.npos);
  ::usleep(1000000);
  int then = intents(fleet);
  CHECK(then < 6);
  ::usleep(2000000);
  CHECK(intents(fleet) == then);
  CHECK(fleet.ripcord({"status"}).exit == 6);

  CHECK(fleet.ripcord({"resume", "web"}).exit == 0);
  bool baking = eventually([&] { return fleet.ripcord({"status"}).output.find("baking in stage long-bake") != std::string::npos; });
  INFO(log());
  REQUIRE(baking);
  CHECK(intents(fleet) == 7);
  CHECK(fleet.ripcord({"promote", "web", "-m", "looks good"}).exit == 0);
  REQUIRE(eventually([&] { return fleet.ripcord({"status"}).output.find("waiting for approval of stage gate") != std::string::npos; }));
  CHECK(intents(fleet) == 7);
  CHECK(fleet.ripcord({"approve", "web"}).exit == 0);
  auto end = FleetRun::wait(apply);
  INFO(log());
  CHECK(end.exit == 0);
  CHECK(fleet.all_run("1.0"));
}

TEST_CASE("abort from another terminal brings every touched host back, and the running process ends with 3") {
  FleetRun fleet({.hosts = 3});
  fleet.write_unit("a", {});
  REQUIRE(fleet.ripcord({"apply", "a/", "-y"}).exit == 0);
  fleet.write_plan("unit: web\nstages:\n  - {name: first, hosts: 2, bake: 1h}\n  - {name: rest, hosts: rest}\nwindow: none\n");
  WebUnit unit;
  unit.version = "1.1";
  fleet.write_unit("b", unit);
  auto apply = fleet.start({"apply", "b/", "-y"}, "apply.log");
  bool baking = eventually([&] { return fleet.ripcord({"status"}).output.find("baking in stage first") != std::string::npos; });
  INFO(fleet.output("apply.log"));
  REQUIRE(baking);
  int new_ones = 0;
  for (int i = 1; i <= 3; ++i) new_ones += fleet.version(i) == "1.1";
  CHECK(new_ones == 2);
  auto abort = fleet.ripcord({"abort", "web", "-m", "second thoughts"});
  INFO(abort.output);
  CHECK(abort.exit == 0);
  auto end = FleetRun::wait(apply);
  INFO(fleet.output("apply.log"));
  CHECK(end.exit == 3);
  CHECK(fleet.output("apply.log").find("web 1.1: rolled back at ") != std::string::npos);
  CHECK(fleet.all_run("1.0"));
  CHECK(fleet.ripcord({"status"}).exit == 3);
}

TEST_CASE("Ctrl-C pauses cleanly: what runs ends, nothing else starts, exit 130; resume finishes") {
  FleetRun fleet({.hosts = 4});
  fleet.write_plan("unit: web\nstages:\n  - {name: all, hosts: rest, max_parallel: 1}\nwindow: none\n");
  WebUnit unit;
  unit.health = "  interval: 100ms\n  min_healthy_time: 500ms\n  healthy_deadline: 20s\n";
  fleet.write_unit("web", unit);
  auto apply = fleet.start({"apply", "web/", "-y"}, "apply.log");
  REQUIRE(eventually([&] { return intents(fleet) >= 1; }));
  ::kill(apply.pid, SIGINT);
  auto end = FleetRun::wait(apply);
  INFO(fleet.output("apply.log"));
  CHECK(end.exit == 130);
  CHECK(fleet.output("apply.log").find("next: ripcord resume web") != std::string::npos);
  CHECK(intents(fleet) < 4);
  int confirmed = 0;
  for (int i = 1; i <= 4; ++i) {
    CHECK(fleet.count(i, "CONFIRMED") == fleet.count(i, "INTENT"));
    confirmed += fleet.count(i, "CONFIRMED");
  }
  CHECK(confirmed >= 1);
  auto resumed = fleet.ripcord({"resume", "web"});
  INFO(resumed.output);
  CHECK(resumed.exit == 0);
  CHECK(fleet.all_run("1.0"));
  for (int i = 1; i <= 4; ++i) CHECK(fleet.count(i, "ACTIVATED") == 1);
}
