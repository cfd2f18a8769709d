// The ledger's file is replaced by an older copy while a rollout writes to it: the rollout stops, says why, and nothing that hosts did
// is taken for undone (promises 2, 3, 11).
#include <fcntl.h>
#include <signal.h>

#include <filesystem>

#include "core/base/files.hpp"
#include "core/net/ledger.hpp"
#include "tests/support/campaign.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/local_run.hpp"

using namespace ripcord;
using namespace ripcord::test;

TEST_CASE("an older copy of the ledger is put back under a running rollout: it stops, and the next one is refused until reconcile", "[ledger]") {
  for (bool in_place : {true, false}) {
    if (!in_place && !long_campaign()) continue;  // tests of the store have it
    INFO((in_place ? "written over" : "renamed over"));
    LocalRun fleet(7, 1, Millis(200));
    fleet.write_unit("1.0");
    auto id = fleet.start({"apply", "app-1.0/", "-y"}, "apply.log");
    REQUIRE(eventually([&] { return fleet.count("CONFIRMED") >= 1; }));
    const auto ledger = fleet.folder() + "/.ripcord/ledger.db";
    ::kill(id.pid, SIGSTOP);  // a copy of a moment
    auto older = read_file(ledger);
    // One operation more may be intended in it than is confirmed: `resume` would rightly ask for that and go on. So two more are waited for.
    const auto in_copy = fleet.count("CONFIRMED");
    const bool clean = !exists(ledger + "-journal");
    ::kill(id.pid, SIGCONT);
    REQUIRE(eventually([&] { return fleet.count("CONFIRMED") >= in_copy + 2; }));
    ::kill(id.pid, SIGSTOP);
    std::error_code none;
    std::filesystem::remove(ledger + "-journal", none);
    if (in_place) {
      Fd fd = open_file(ledger, O_WRONLY | O_TRUNC, 0600);
      write_all(fd.get(), older, ledger);
    } else {
      write_file_durable(ledger, older, 0600);
    }
    ::kill(id.pid, SIGCONT);
    auto end = LocalRun::wait(id, Millis(60000));
    INFO(fleet.output("apply.log"));
    CHECK(end.exit == 9);
    CHECK(fleet.output("apply.log").find("completed") == std::string::npos);
    CHECK(fleet.count("CONFIRMED") < 7);
    if (!clean) continue;  // the copy may be of the middle of a write
    auto refused = fleet.ripcord({"resume", "app"});
    INFO(refused.output);
    CHECK(refused.exit == 9);
    auto reconciled = fleet.ripcord({"reconcile", "app"});
    INFO(reconciled.output);
    CHECK(reconciled.exit == 0);
    auto resumed = fleet.ripcord({"resume", "app"});
    INFO(resumed.output);
    CHECK(resumed.exit == 0);
    CHECK(fleet.all_run("1.0"));
    CHECK(fleet.most_activated() == "");
    CHECK_FALSE(find_broken_link(open_sqlite_ledger(ledger)->read(0, 1000000), Digest{}));
  }
}
