// Nobody is left to confirm: hosts go back by themselves, in time, with the old process running (promises 4, 5, 11, 16).
#include <fmt/format.h>
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

bool back_on_old(const FleetRun& fleet, int i) { return fleet.count(i, "REVERTED") == 1 && fleet.runs(i, "1.0"); }

}  // namespace

TEST_CASE("the controller is killed right after the switch: hosts are back by T + 5 s, also without their helper, and after a freeze over the deadline") {
  FleetRun fleet({.hosts = 3}, "timeouts: {connect: 1s, handshake: 1s, auth: 1s}, ");
  WebUnit unit;
  unit.by_action = true;
  unit.health = "  interval: 100ms\n  min_healthy_time: 100ms\n  healthy_deadline: 4s\n";
  fleet.write_unit("a", unit);
  auto first = fleet.ripcord({"apply", "a/", "-y"});
  INFO(first.output);
  REQUIRE(first.exit == 0);
  REQUIRE(fleet.all_run("1.0"));

  unit.version = "1.1";
  unit.health = "  interval: 100ms\n  min_healthy_time: 3s\n  healthy_deadline: 4s\n";
  fleet.write_unit("b", unit);
  auto apply = fleet.start({"apply", "b/", "-y", "--unproven", "1.0", "-m", "all three at once"}, "apply.log");
  auto all_activated = [&] { return fleet.count(1, "ACTIVATED") == 2 && fleet.count(2, "ACTIVATED") == 2 && fleet.count(3, "ACTIVATED") == 2; };
  REQUIRE(eventually(all_activated, Millis(30000)));
  const Elapsed activated = boot_now();
  ::kill(apply.pid, SIGKILL);
  FleetRun::wait(apply);
  fleet.kill_helpers(2);
  std::int64_t within = 0;
  for (const auto& r : fleet.journal(1))
    if (get_string(r, "kind") == "INTENT") within = get_int(r, "within_ms");
  // stop 2 s, start 3 s, healthy_deadline 4 s, min_healthy_time 3 s, two sessions of 3 s, 10 s.
  CHECK(within == 28000);
  const Millis T(within);

  REQUIRE(eventually([&] { return boot_now() - activated > T - Millis(6000); }, T));
  fleet.hosts.freeze(3);  // through its deadline
  for (int i = 1; i <= 2; ++i) {
    CHECK(fleet.version(i) == "1.1");
    CHECK(fleet.count(i, "CONFIRMED") == 1);
  }
  auto status = fleet.ripcord({"status", "web"});
  CHECK(status.exit == 6);
  CHECK(eventually([&] { return back_on_old(fleet, 1) && back_on_old(fleet, 2); }, T + Millis(5000) - (boot_now() - activated)));
  CHECK(boot_now() - activated >= T - Millis(4000));
  CHECK(fleet.version(3) == "1.1");
  fleet.hosts.thaw(3);
  CHECK(eventually([&] { return back_on_old(fleet, 3); }, Millis(5000)));

  auto resumed = fleet.ripcord({"resume", "web"});
  INFO(resumed.output);
  // Nobody was there to confirm them: no fault of theirs. They are activated anew, under operations of their own.
  CHECK(resumed.exit == 0);
  CHECK(fleet.all_run("1.1"));
  for (int i = 1; i <= 3; ++i) {
    CHECK(fleet.most_activated(i) == "");
    CHECK(fleet.count(i, "ACTIVATED") == 3);
    CHECK(fleet.count(i, "REVERTED") == 1);
    CHECK_FALSE(exists(fleet.hosts.seen(i, "/var/lib/ripcord/units/web/pending")));
  }
}

TEST_CASE("a host that stands still for a while in the middle of it neither fails nor switches twice") {
  FleetRun fleet({.hosts = 2});
  fleet.write_plan("unit: web\nstages:\n  - {name: all, hosts: rest, max_parallel: 1}\nwindow: none\n");
  WebUnit unit;
  unit.health = "  interval: 100ms\n  min_healthy_time: 500ms\n  healthy_deadline: 20s\n";
  int n = 0;
  for (const char* moment : {"STAGED", "INTENT", "ACTIVATED"}) {
    ++n;
    unit.version = fmt::format("{}.0", n);
    fleet.write_unit("web-" + unit.version, unit);
    std::vector<std::string> words{"apply", "web-" + unit.version + "/", "-y"};
    if (n > 1) words.insert(words.end(), {"--unproven", fmt::format("{}.0", n - 1), "-m", "one switch each"});
    auto apply = fleet.start(std::move(words), "apply.log");
    REQUIRE(eventually([&] { return fleet.count(1, moment) == n; }, Millis(30000)));
    fleet.hosts.freeze(1);
    ::usleep(1500000);
    fleet.hosts.thaw(1);
    auto end = FleetRun::wait(apply);
    INFO(moment << "\n" << fleet.output("apply.log"));
    CHECK(end.exit == 0);
    CHECK(fleet.all_run(unit.version));
    for (int i = 1; i <= 2; ++i) CHECK(fleet.count(i, "ACTIVATED") == n);
    CHECK(fleet.most_activated(1) == "");
  }
}
