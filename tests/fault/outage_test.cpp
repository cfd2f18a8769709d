// A host that nobody reaches from right after its switch until its deadline has passed: it goes back by itself, the controller says what
// it knows and no more, and a person brings it forward again (promises 4, 5, 11, 16). Only in long campaigns: a deadline takes half a minute.
#include <set>

#include "tests/support/slow_unit.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/wired_fleet.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

const Millis T(28000);  // stop 2 s, start 3 s, healthy_deadline 5 s, min_healthy_time 2 s, two sessions of 3 s, 10 s

bool back_on_old(const FleetRun& fleet, int i) { return fleet.count(i, "REVERTED") == 1 && fleet.runs(i, "1.0"); }

struct Outage {
  WiredFleet fleet;
  ProcessId rollout;
  Elapsed cut_at{0};

  // Three hosts on 1.0, and a rollout of 1.1; the first host is cut off once it has switched.
  template <class Cut>
  explicit Outage(Cut cut) : fleet({.hosts = 3}, "timeouts: {connect: 1s, handshake: 1s, auth: 1s}") {
    fleet.write_plan("unit: web\nstages:\n  - {name: all, hosts: rest, slow_start: false}\nwindow: none\nmax_unreachable: 1\n");
    write_slow(fleet, "1.0", "0", "100ms", "3s");
    auto first = fleet.ripcord(apply_words("1.0", ""));
    INFO(first.output);
    REQUIRE(first.exit == 0);
    write_slow(fleet, "1.1", "0.5", "2s", "3s");
    rollout = fleet.start(apply_words("1.1", "1.0"), "apply.log");
    REQUIRE(eventually([&] { return fleet.count(1, "ACTIVATED") == 2; }, Millis(30000)));
    cut(fleet);
    cut_at = boot_now();
    CHECK(eventually([&] { return back_on_old(fleet, 1); }, T + Millis(5000)));
    CHECK(boot_now() - cut_at > T - Millis(4000));
    for (const auto& r : fleet.journal(1))
      if (get_string(r, "kind") == "INTENT" && get_string(get_object(r, "to"), "version") == "1.1") CHECK(get_int(r, "within_ms") == T.count());
  }
  void check_honest(bool still = false) const {
    for (int i = 1; i <= 3; ++i) {
      CHECK(fleet.most_activated(i) == "");
      // A host whose first process stands still buries nobody: the old service seems to live until the stop script's deadline.
      CHECK(starts(fleet, i, "1.1") <= activated(fleet, i, "1.1"));
      if (!(still && i == 1)) CHECK(starts(fleet, i, "1.1") == activated(fleet, i, "1.1"));
    }
  }
};

}  // namespace

TEST_CASE("cut off from the switch until the rollout has given up: named as unknown and owed, exit 4; retry brings it forward", "[outage]") {
  if (!long_campaign()) return;
  Outage outage([](WiredFleet& fleet) { fleet.wire(1).set({.mode = TcpProxy::Mode::black_hole}); });
  auto& fleet = outage.fleet;
  auto end = FleetRun::wait(outage.rollout);
  INFO(fleet.output("apply.log"));
  CHECK(end.exit == 4);
  CHECK(fleet.output("apply.log").find("h1") != std::string::npos);
  CHECK(fleet.version(1) == "1.0");
  CHECK(fleet.version(2) == "1.1");
  CHECK(fleet.version(3) == "1.1");
  auto status = fleet.ripcord({"status", "web", "-o", "json"});
  CHECK(status.output.find("\"phase\":\"unknown\"") != std::string::npos);
  fleet.wire(1).set({});
  auto again = fleet.ripcord({"retry", "web"});
  INFO(again.output);
  if (again.exit != 0) {
    auto applied = fleet.ripcord({"apply", "web@1.1", "-y"});
    INFO(applied.output);
    CHECK(applied.exit == 0);
  }
  CHECK(fleet.all_run("1.1"));
  outage.check_honest();
  total(fmt::format("outage: back after {}, exit 4, brought forward", format_duration(T)));
}

TEST_CASE("cut off until just after its deadline: the controller sees that it went back by itself, and takes the others back", "[outage]") {
  if (!long_campaign()) return;
  Outage outage([](WiredFleet& fleet) { fleet.wire(1).set({.mode = TcpProxy::Mode::black_hole}); });
  auto& fleet = outage.fleet;
  fleet.wire(1).set({});
  auto end = FleetRun::wait(outage.rollout);
  INFO(fleet.output("apply.log"));
  CHECK(end.exit == 3);
  CHECK(fleet.output("apply.log").find("went back by itself") != std::string::npos);
  CHECK(fleet.all_run("1.0"));
  outage.check_honest();
}

TEST_CASE("its sshd is killed and does not answer until after its deadline: the same", "[outage]") {
  if (!long_campaign()) return;
  int killed = 0;
  Outage outage([&](WiredFleet& fleet) { killed = kill_sshd(fleet, 1); });
  auto& fleet = outage.fleet;
  CHECK(killed > 0);
  auto end = FleetRun::wait(outage.rollout);
  INFO(fleet.output("apply.log"));
  CHECK(end.exit == 4);
  revive_sshd(fleet, 1);
  auto again = fleet.ripcord({"apply", "web@1.1", "-y"});
  INFO(again.output);
  CHECK(again.exit == 0);
  CHECK(fleet.all_run("1.1"));
  outage.check_honest(true);
}

TEST_CASE("a host that freezes before its stage takes the release: the others are through long before it is given up", "[outage]") {
  if (!long_campaign()) return;
  FleetRun fleet({.hosts = 4}, "timeouts: {connect: 10s, handshake: 15s, auth: 15s}, ");
  fleet.write_plan("unit: web\nstages:\n  - {name: canary, hosts: 1, bake: 3s}\n  - {name: rest, hosts: rest, slow_start: false}\nwindow: none\nmax_unreachable: 1\n");
  write_slow(fleet, "1.0", "0");
  auto id = fleet.start(apply_words("1.0", ""), "apply.log");
  int canary = 0;
  REQUIRE(eventually([&] {
    for (int i = 1; i <= 4; ++i)
      if (fleet.count(i, "CONFIRMED") == 1) canary = i;
    return canary > 0;
  }, Millis(30000)));
  const int frozen = canary == 4 ? 3 : 4;
  fleet.hosts.freeze(frozen);
  const auto since = boot_now();
  CHECK(eventually([&] {
    int through = 0;
    for (int i = 1; i <= 4; ++i) through += fleet.count(i, "CONFIRMED");
    return through == 3;
  }, Millis(13000)));  // bake 3 s, patience 5 s; given up after 18 s at the earliest
  const auto took = boot_now() - since;
  auto end = FleetRun::wait(id);
  INFO(fleet.output("apply.log"));
  CHECK(end.exit == 4);
  CHECK(boot_now() - since > Millis(15000));
  fleet.hosts.thaw(frozen);
  auto again = fleet.ripcord({"apply", "web@1.0", "-y"});
  INFO(again.output);
  CHECK(again.exit == 0);
  CHECK(fleet.all_run("1.0"));
  total(fmt::format("frozen before staging: the others were through after {}", format_duration(took)));
}
