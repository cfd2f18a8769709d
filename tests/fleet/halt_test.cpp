// The big red switch, pulled from another terminal while a rollout runs, stands still, or is dead (promise 10).
#include <signal.h>
#include <stdlib.h>

#include <filesystem>

#include "core/base/files.hpp"
#include "tests/support/campaign.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/fleet_run.hpp"
#include "tests/support/local_run.hpp"

using namespace ripcord;
using namespace ripcord::test;

TEST_CASE("halt: two seconds after it returned nothing new is activated; only unhalt and resume go on", "[halt]") {
  const bool full = long_campaign();
  LocalRun fleet(full ? 200 : 16, full ? 16 : 2, Millis(200));
  fleet.write_unit("1.0");
  auto apply = fleet.start({"apply", "app-1.0/", "-y"}, "apply.log");
  REQUIRE(eventually([&] { return fleet.count("INTENT") >= 3; }));
  auto halt = fleet.ripcord({"halt", "-m", "disk melts"});
  INFO(halt.output);
  CHECK(halt.exit == 0);
  CHECK(says(halt, "fleet test halted: every host acknowledged\n"));
  int then = fleet.count("INTENT");
  auto end = FleetRun::wait(apply);
  INFO(fleet.output("apply.log"));
  CHECK(end.exit == 7);
  ::usleep(2000000);
  const int begun = fleet.count("INTENT");
  CHECK(begun == then);  // the hosts waited for those that were on their way, so not even one comes later
  CHECK(begun < static_cast<int>(fleet.names().size()));
  CHECK(fleet.count("CONFIRMED") == begun);

  auto status = fleet.ripcord({"status"});
  INFO(status.output);
  CHECK(status.exit == 7);
  CHECK(says(status, "fleet 'test' is halted by ana on "));
  CHECK(says(status, ": disk melts"));
  CHECK(fleet.ripcord({"resume", "app"}).exit == 7);
  CHECK(fleet.ripcord({"retry", "app"}).exit == 8);
  CHECK(fleet.ripcord({"unhalt"}).exit == 64);
  CHECK(fleet.count("INTENT") == begun);

  auto unhalt = fleet.ripcord({"unhalt", "-m", "new disk"});
  INFO(unhalt.output);
  CHECK(unhalt.exit == 0);
  ::usleep(300000);
  CHECK(fleet.count("INTENT") == begun);  // nobody goes on by itself
  auto resumed = fleet.ripcord({"resume", "app"});
  INFO(resumed.output);
  CHECK(resumed.exit == 0);
  CHECK(fleet.all_run("1.0"));
  CHECK(fleet.most_activated() == "");
}

TEST_CASE("halt works with the ledger gone and the rollout standing still, and is in the ledger later", "[halt]") {
  LocalRun fleet(8, 1, Millis(200));
  fleet.write_unit("1.0");
  REQUIRE(fleet.ripcord({"apply", "app-1.0/", "-y"}).exit == 0);
  fleet.write_unit("1.1");
  auto apply = fleet.start({"apply", "app-1.1/", "-y"}, "apply.log");
  auto intents = [&] { return fleet.count("INTENT") - 8; };
  REQUIRE(eventually([&] { return intents() >= 2; }));
  ::kill(apply.pid, SIGSTOP);
  auto ledger = fleet.folder() + "/.ripcord/ledger.db";
  std::filesystem::rename(ledger, ledger + ".away");
  auto halt = fleet.ripcord({"halt", "-m", "now"});
  INFO(halt.output);
  CHECK(halt.exit == 0);
  CHECK(says(halt, "it is not in the ledger yet: there is no ledger '" + ledger + "', and none is made for this"));
  const int then = intents();
  REQUIRE_FALSE(exists(ledger));  // another one in its place would have taken the word, and lost it
  std::filesystem::rename(ledger + ".away", ledger);
  ::kill(apply.pid, SIGCONT);
  auto end = FleetRun::wait(apply);
  INFO(fleet.output("apply.log"));
  CHECK(end.exit == 7);
  CHECK(intents() == then);

  auto history = fleet.ripcord({"history"});
  INFO(history.output);
  CHECK(says(history, "fleet test halted: now"));
  // The cord does not care.
  auto back = fleet.ripcord({"rollback", "app", "-y", "-m", "enough"});
  INFO(back.output);
  CHECK(back.exit == 0);
  CHECK(fleet.all_run("1.0"));
  CHECK(fleet.ripcord({"apply", "app@1.1", "-y"}).exit == 7);
  CHECK(fleet.ripcord({"unhalt", "-m", "over"}).exit == 0);
  auto again = fleet.ripcord({"apply", "app@1.1", "-y"});
  INFO(again.output);
  CHECK(again.exit == 0);
}

TEST_CASE("a rollout whose process was killed stays halted; a halt that came and went while one stood still is heard", "[halt]") {
  LocalRun fleet(6, 1, Millis(200));
  fleet.write_unit("1.0");
  auto apply = fleet.start({"apply", "app-1.0/", "-y"}, "apply.log");
  REQUIRE(eventually([&] { return fleet.count("INTENT") >= 2; }));
  ::kill(apply.pid, SIGKILL);
  FleetRun::wait(apply);
  CHECK(fleet.ripcord({"halt"}).exit == 0);
  CHECK(fleet.ripcord({"resume", "app"}).exit == 7);
  CHECK(fleet.ripcord({"resume", "--due"}).exit == 6);
  CHECK(fleet.ripcord({"unhalt", "-m", "over"}).exit == 0);

  auto resume = fleet.start({"resume", "app"}, "resume.log");
  REQUIRE(eventually([&] { return fleet.count("INTENT") >= 4; }));
  ::kill(resume.pid, SIGSTOP);
  CHECK(fleet.ripcord({"halt"}).exit == 0);
  const int then = fleet.count("INTENT");
  CHECK(fleet.ripcord({"unhalt", "-m", "over"}).exit == 0);
  ::kill(resume.pid, SIGCONT);
  auto end = FleetRun::wait(resume);
  INFO(fleet.output("resume.log"));
  CHECK(end.exit == 7);
  CHECK(fleet.count("INTENT") == then);
  CHECK(fleet.ripcord({"resume", "app"}).exit == 0);
  CHECK(fleet.all_run("1.0"));
  CHECK(fleet.most_activated() == "");
}

TEST_CASE("hosts that do not acknowledge a halt are named, exit 4", "[halt]") {
  FleetRun fleet({.hosts = 3});
  fleet.hosts.freeze(2);
  auto halt = fleet.ripcord({"halt", "-m", "x"});
  INFO(halt.output);
  CHECK(halt.exit == 4);
  CHECK(says(halt, "fleet test halted: 2 of 3 hosts acknowledged\n"));
  CHECK(says(halt, "did not acknowledge: h2\n"));
  CHECK(exists(fleet.hosts.seen(1, "/var/lib/ripcord/halt")));
  CHECK_FALSE(exists(fleet.hosts.seen(2, "/var/lib/ripcord/halt")));
  fleet.hosts.thaw(2);
  auto again = fleet.ripcord({"halt", "-m", "x"});
  INFO(again.output);
  CHECK(again.exit == 0);
  CHECK(fleet.ripcord({"unhalt", "-m", "over"}).exit == 0);
  for (int i = 1; i <= 3; ++i) CHECK_FALSE(exists(fleet.hosts.seen(i, "/var/lib/ripcord/halt")));
}
