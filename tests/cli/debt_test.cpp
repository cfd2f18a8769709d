// Convergence debt with the built program on a local fleet: who is owed what, what that holds up, and what pays or excuses it.
#include <filesystem>

#include "core/base/files.hpp"
#include "tests/cli/owed_fleet.hpp"
#include "tests/support/campaign.hpp"

using namespace ripcord;
using namespace ripcord::test;
namespace fs = std::filesystem;

namespace {

// Three hosts that run 1.0, and a release 1.1 to come.
struct DebtFleet : OwedFleet {
  DebtFleet() : OwedFleet(3, {"1.0"}) { write_unit("1.1"); }
};

}  // namespace

TEST_CASE("a host that was down is owed: everybody says so, prune waits for it; a quarantine excuses it until it ends") {
  DebtFleet fleet;
  fleet.take_down("n-003");
  fleet.done({"apply", "app-1.1/", "-y", "-q"}, 4);
  CHECK(says(fleet.done({"status"}, 4), "owed     n-003: app@1.1: it missed r-"));
  CHECK(says(fleet.done({"hosts"}, 4), "owed app@1.1: it missed r-"));
  CHECK(says(fleet.done({"history"}), "rollout completed, 1 host owed"));
  auto refused = fleet.done({"prune", "app", "-y"}, 8);
  CHECK(says(refused, "ripcord: error: 1 host of 'app' is owed, and what it may need stays until then: n-003: app@1.1: it missed r-"));
  CHECK(says(fleet.done({"prune", "app", "--dry-run"}, 4), "warning: owed: n-003: app@1.1: it missed r-"));
  CHECK(says(fleet.done({"plan", "app@1.1"}), "warning: n-003: owed app@1.1: it missed r-"));

  CHECK(fleet.ripcord({"quarantine", "n-003"}).exit == 64);
  CHECK(fleet.ripcord({"quarantine", "n-003", "--reason", "x", "--owner", "y", "--until", "2020-01-01"}).exit == 64);
  auto stranger = fleet.done({"quarantine", "n-030", "--reason", "x", "--owner", "y", "--until", "1h"}, 8);
  CHECK(says(stranger, "host 'n-030' is not in the fleet file, did you mean 'n-003'?"));
  fleet.done({"quarantine", "n-003", "--reason", "disk swap", "--owner", "storage", "--until", "2099-01-31"});
  auto status = fleet.done({"status"});
  CHECK(says(status, "app 1.1: completed at "));
  CHECK(says(status, "apart    n-003 quarantined until the end of 2099-01-31, owner storage: disk swap (by ana)"));
  CHECK(says(fleet.done({"hosts"}), "quarantined until the end of 2099-01-31"));
  CHECK(fleet.done({"drift"}).output.empty());
  fleet.done({"prune", "app", "-y", "-q"});
  CHECK(says(fleet.done({"history", "app"}), "n-003 quarantined until the end of 2099-01-31, owner storage: disk swap"));
  CHECK(says(fleet.done({"quarantine"}), "n-003  the end of 2099-01-31  storage  ana"));

  // Left out by name, though it would answer again; a rollout without it is a whole one.
  fleet.bring_back("n-003");
  fleet.write_unit("1.2");
  auto without = fleet.done({"apply", "app-1.2/", "-y"});
  CHECK(says(without, "warning: n-003: left out: quarantined until the end of 2099-01-31, owner storage: disk swap"));
  CHECK(fleet.version("n-002") == "1.2");
  CHECK(fleet.version("n-003") == "1.0");
  auto only = fleet.done({"apply", "app@1.2", "-y", "--limit", "host=n-003"}, 8);
  CHECK(says(only, "host 'n-003' is quarantined until"));
  fleet.done({"status"});
  // Its time is over: it is owed what came meanwhile.
  fleet.done({"quarantine", "n-003", "--reason", "disk swap", "--owner", "storage", "--until", "1s"});
  CHECK(eventually([&] { return fleet.ripcord({"status"}).exit == 4; }));
  CHECK(says(fleet.done({"status"}, 4), "owed     n-003: app@1.2: it missed r-"));
  CHECK(says(fleet.done({"drift"}, 4), "owed: it missed r-"));
  if (!long_campaign()) return;
  // The cord reaches for whoever is in quarantine.
  fleet.done({"quarantine", "n-003", "--reason", "disk swap", "--owner", "storage", "--until", "1h"});
  CHECK(says(fleet.done({"rollback", "app", "-y"}), "2 hosts returned"));
  CHECK(fleet.count("n-003", "FENCE") > 0);
}

TEST_CASE("hosts retire, replace and readmit say who is expected; a host that is only out of the fleet file is still owed") {
  DebtFleet fleet;
  fleet.take_down("n-003");
  fleet.done({"apply", "app-1.1/", "-y", "-q"}, 4);
  fleet.write_fleet({"n-001", "n-002"});
  CHECK(says(fleet.done({"status"}, 4), "it is not in the fleet file any more"));
  CHECK(fleet.ripcord({"hosts", "retire", "n-003"}).exit == 64);
  CHECK(says(fleet.done({"hosts", "retier", "n-003", "-m", "x"}, 64), "hosts has no action 'retier', did you mean 'retire'?"));
  CHECK(says(fleet.done({"hosts", "retire", "n-033", "-m", "x"}, 8), "neither the fleet file nor the ledger knows a host 'n-033', did you mean 'n-003'?"));
  CHECK(says(fleet.done({"hosts", "retire", "n-003", "-m", "scrapped"}), "n-003 is retired: nothing is owed to it"));
  fleet.done({"status"});
  CHECK(says(fleet.done({"hosts", "retire", "n-003", "-m", "again"}, 8), "host 'n-003' was retired by ana before: scrapped"));
  CHECK(says(fleet.done({"hosts", "readmit", "n-003", "-m", "found"}), "n-003 is expected again"));
  fleet.done({"status"}, 4);

  fleet.write_fleet({"n-001", "n-002", "n-004"});
  auto replaced = fleet.done({"hosts", "replace", "n-003", "n-004", "-m", "broken board"});
  CHECK(says(replaced, "n-003 is replaced by n-004"));
  CHECK(says(replaced, "owed now: n-004: app@1.1: it replaces n-003, which had it"));
  CHECK(says(fleet.done({"drift"}, 4), "owed: it replaces n-003, which had it"));
  CHECK(says(fleet.done({"history"}), "n-003 replaced by n-004: broken board"));
  // A limit decides nothing for the others: they are owed by name.
  fleet.write_unit("1.2");
  CHECK(says(fleet.done({"apply", "app-1.2/", "-y", "--limit", "host=n-001"}, 4), "owed: n-002, n-004"));
  CHECK(says(fleet.done({"status"}, 4), "owed     n-002, n-004: app@1.2: r-"));
  if (!long_campaign()) return;
  fleet.done({"apply", "app@1.2", "-y", "-q"});
  CHECK(fleet.version("n-004") == "1.2");
  fleet.done({"status"});
  fleet.done({"drift"});
}
