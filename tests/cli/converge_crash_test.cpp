// A convergence is a rollout, and whatever comes into the middle of one comes into the middle of it: the rip cord, a halt, kill -9.
#include <signal.h>

#include <filesystem>

#include "core/base/clock.hpp"
#include "core/base/files.hpp"
#include "tests/cli/owed_fleet.hpp"
#include "tests/support/campaign.hpp"

using namespace ripcord;
using namespace ripcord::test;
namespace fs = std::filesystem;

namespace {

// Five hosts took 1.0 and three of them 1.1; two that were away are back, and one has joined. One host at a time.
struct Interrupted : OwedFleet {
  Interrupted() : OwedFleet(5, 1, Millis(200)) {
    write_plan("unit: app\nstages:\n  - {name: all, hosts: rest, max_parallel: 5, slow_start: false}\nmax_unreachable: 50%\n");
    write_unit("1.0");
    write_unit("1.1");
    done({"apply", "app-1.0/", "-y", "-q"});
    for (const char* name : {"n-004", "n-005"}) take_down(name);
    done({"apply", "app-1.1/", "-y", "-q"}, 4);
    for (const char* name : {"n-004", "n-005"}) bring_back(name);
    write_fleet({"n-001", "n-002", "n-003", "n-004", "n-005", "n-006"});
    write_plan("unit: app\nstages:\n  - {name: all, hosts: rest, max_parallel: 1, slow_start: false}\nmax_unreachable: 50%\n");
  }
  // Of the three, forward: how many have begun.
  int begun() const { return count("n-004", "INTENT") + count("n-005", "INTENT") + count("n-006", "INTENT") - 2; }
  ProcessId converge_until(int hosts) const {
    auto id = start({"converge", "-y", "-m", "they are back"}, "converge.log");
    REQUIRE(eventually([&] { return begun() >= hosts; }));
    return id;
  }
  int on(const std::string& version) const {
    int n = 0;
    for (const char* name : {"n-001", "n-002", "n-003", "n-004", "n-005", "n-006"}) n += this->version(name) == version;
    return n;
  }
  bool pending() const {
    for (const char* name : {"n-004", "n-005", "n-006"})
      if (exists(host(name) + "/var/lib/ripcord/units/app/pending")) return true;
    return false;
  }
  // Whatever happened: what is open goes on, what is owed is caught up, and the books are clean.
  void ends_well(const std::string& version) const {
    CHECK(on(version) == 6);
    CHECK_FALSE(pending());
    CHECK(most_activated() == "");
    CHECK(says(done({"converge", "-y", "-m", "again"}), "nothing is owed: 6 hosts looked at"));
    CHECK(done({"drift"}).output.empty());
  }
};

}  // namespace

TEST_CASE("the rip cord in the middle of a convergence takes its hosts where it takes the others, and ends it", "[converge][cord]") {
  Interrupted fleet;
  auto converge = fleet.converge_until(2);
  auto pulled = fleet.done({"rollback", "app", "-y", "-m", "numbers fell"}, 0, fleet.second_machine());
  auto end = LocalRun::wait(converge);
  INFO(fleet.output("converge.log") << pulled.output);
  CHECK(end.exit == 7);
  CHECK_FALSE(fleet.pending());
  CHECK(fleet.on("1.1") == 0);
  CHECK(fleet.on("1.0") >= 5);  // the third had nothing yet, or was brought and taken along
  CHECK(says(fleet.done({"rollback", "app", "-y"}), "0 hosts returned"));
  CHECK(says(fleet.done({"resume", "app"}, 8), "no rollout of 'app' is open"));
  if (fleet.on("1.0") == 5) CHECK(says(fleet.done({"converge", "-y", "-m", "joined"}), "app@1.0, where the rip cord left it"));
  fleet.ends_well("1.0");
}

TEST_CASE("a halt in the middle of a convergence: no other host is begun, and it goes on by resume once it is lifted", "[converge][halt]") {
  Interrupted fleet;
  auto converge = fleet.converge_until(1);
  fleet.done({"halt", "-m", "smoke"});
  const int begun = fleet.begun();
  auto end = LocalRun::wait(converge);
  INFO(fleet.output("converge.log"));
  CHECK(end.exit == 7);
  CHECK(fleet.begun() == begun);
  CHECK(begun < 3);
  CHECK_FALSE(fleet.pending());
  CHECK(fleet.on("1.1") == 3 + begun);  // what was begun came to its end
  fleet.done({"resume", "app"}, 7);
  fleet.done({"converge", "-y", "-m", "in spite of it"}, 7);
  fleet.done({"unhalt", "-m", "no fire"});
  fleet.done({"resume", "app"});
  fleet.ends_well("1.1");
}

TEST_CASE("a convergence killed at any moment goes on by resume, from another machine too; converge itself names the way", "[converge][crash]") {
  const bool full = long_campaign();
  for (int at = 1; at <= (full ? 12 : 1); ++at) {
    INFO("round " << at);
    Interrupted fleet;
    auto converge = fleet.converge_until(1 + at % 3);
    if (full) ::usleep(static_cast<useconds_t>(at * 37000));
    ::kill(converge.pid, SIGKILL);
    LocalRun::wait(converge);
    const bool over = !says(fleet.ripcord({"status", "app"}), "no process");
    if (!over) {
      auto held = fleet.done({"converge", "-y", "-m", "again"}, 7);
      CHECK(says(held, "unit 'app' has an open rollout"));
      CHECK(says(held, "resume"));
      fleet.done({"resume", "app"}, 0, at % 2 ? fleet.second_machine() : "");
    }
    fleet.ends_well("1.1");
    CHECK(says(fleet.done({"rollback", "app", "-y"}), "6 hosts returned"));
    CHECK(fleet.on("1.0") == 6);
  }
}
