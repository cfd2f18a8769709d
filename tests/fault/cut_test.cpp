// What cuts a host off in the middle of a switch, from the host's own side (promises 4, 5, 11).
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

WebUnit quick(const std::string& version) {
  WebUnit unit;
  unit.version = version;
  unit.by_action = true;
  unit.health = "  interval: 100ms\n  min_healthy_time: 100ms\n  healthy_deadline: 5s\n";
  return unit;
}

}  // namespace

TEST_CASE("the restart hook itself cuts the session: the operation is not lost, and not begun again") {
  FleetRun fleet({.hosts = 1});
  fleet.write_unit("a", quick("1.0"));
  auto first = fleet.ripcord({"apply", "a/", "-y"});
  INFO(first.output);
  REQUIRE(first.exit == 0);
  fleet.write_unit("b", quick("1.1"));
  // Every sshd but the one that listens, in the middle of the hook.
  fleet.write("b/code/bin/start",
              "#!/bin/sh\nfor p in /proc/[0-9]*; do n=${p#/proc/}; [ \"$n\" != 1 ] && [ \"$(cat \"$p/comm\" 2>/dev/null)\" = sshd ] && "
              "! grep -q listener \"$p/cmdline\" 2>/dev/null && kill -9 \"$n\"; done\n"
              "setsid bin/sample-service --config config/app.conf </dev/null >/dev/null 2>&1 &\n",
              0755);
  auto cut = fleet.ripcord({"apply", "b/", "-y"});
  INFO(cut.output);
  CHECK(cut.exit == 0);
  CHECK(fleet.all_run("1.1"));
  CHECK(fleet.most_activated(1) == "");
  CHECK_FALSE(exists(fleet.hosts.seen(1, "/var/lib/ripcord/units/web/pending")));
}

TEST_CASE("a host that loses power after the switch comes back on the old release, and says so") {
  FleetRun fleet({.hosts = 1});
  fleet.write_unit("a", quick("1.0"));
  REQUIRE(fleet.ripcord({"apply", "a/", "-y"}).exit == 0);
  auto unit = quick("1.1");
  unit.health = "  interval: 100ms\n  min_healthy_time: 4s\n  healthy_deadline: 10s\n";
  fleet.write_unit("b", unit);
  auto apply = fleet.start({"apply", "b/", "-y"}, "apply.log");
  REQUIRE(eventually([&] { return fleet.version(1) == "1.1" && fleet.count(1, "ACTIVATED") == 2; }, Millis(30000)));
  ::kill(apply.pid, SIGKILL);
  FleetRun::wait(apply);
  fleet.hosts.kill(1);
  fleet.hosts.start(1);  // with another boot id; its services are gone, as after any reboot
  CHECK(fleet.version(1) == "1.1");
  auto seen = fleet.ripcord({"hosts"});  // the first session that may look at it is enough (weak leg)
  INFO(seen.output);
  CHECK(fleet.version(1) == "1.0");
  CHECK(eventually([&] { return fleet.answer(1) == "1.0\n"; }, Millis(5000)));
  auto last = fleet.journal(1).back();
  CHECK(get_string(last, "kind") == "REVERTED");
  CHECK(get_string(last, "detail") == "the host was restarted before it was confirmed");
  auto resumed = fleet.ripcord({"resume", "web"});
  INFO(resumed.output);
  // Whether it is tried once more is the rollout's business; what it says is what runs.
  CHECK(((resumed.exit == 3 && fleet.all_run("1.0")) || (resumed.exit == 0 && fleet.all_run("1.1"))));
  CHECK(fleet.most_activated(1) == "");
}
