// drift repair in the books: it is a rollout that decides nothing. Commands that ask what was decided do not see it, those that ask what
// was done do, and a rip cord goes past it.
#include <filesystem>

#include "core/base/files.hpp"
#include "tests/cli/owed_fleet.hpp"
#include "tests/support/campaign.hpp"

using namespace ripcord;
using namespace ripcord::test;
namespace fs = std::filesystem;

namespace {

struct RepairFleet : OwedFleet {
  RepairFleet() : OwedFleet(3, {"1.0", "1.1"}) {}
  // Somebody points `current` at another release of the host, and tells nobody.
  void switch_by_hand(const std::string& host, const std::string& version) const {
    const auto unit = folder() + "/hosts/" + host + "/srv/app";
    for (const auto& entry : fs::directory_iterator(unit + "/releases")) {
      auto name = entry.path().filename().string();
      if (!name.starts_with(version + "-")) continue;
      fs::remove(unit + "/current");
      fs::create_symlink("releases/" + name, unit + "/current");
    }
    REQUIRE(this->version(host) == version);
  }
  void all_is_well() const {
    CHECK(all_run("1.1"));
    CHECK(says(done({"status", "app"}), "app 1.1: completed at "));  // what was decided, not what was put right since
    CHECK(says(done({"converge", "-y", "-m", "again"}), "nothing is owed: 3 hosts looked at"));
    CHECK(done({"drift"}).output.empty());
    CHECK(says(done({"plan", "app@1.1"}), "nothing to do"));
  }
};

}  // namespace

TEST_CASE("a repair is known to history and reconcile, decides nothing, and the cord takes all hosts where it would have gone", "[repair]") {
  RepairFleet fleet;
  const auto file = fleet.folder() + "/.ripcord/ledger.db", before = read_file(file);
  fleet.switch_by_hand("n-002", "1.0");
  fleet.done({"drift"}, 2);
  fleet.done({"drift", "repair", "-y", "-m", "INC-9"});
  fleet.all_is_well();
  CHECK(says(fleet.done({"history"}), "repair of app@1.1 to 1 host started"));
  CHECK(says(fleet.done({"reconcile", "app", "--dry-run"}), "would be brought in, 0 operations that the ledger did not know"));

  write_file_durable(file, before, 0600);  // an older copy, from before the repair
  CHECK(says(fleet.done({"plan", "app@1.1"}, 9), "the ledger has lost entries: host 'n-002' did operation "));
  CHECK(says(fleet.done({"reconcile", "app", "-m", "restored"}), " brought in, 1 operation that the ledger did not know"));
  fleet.all_is_well();

  CHECK(says(fleet.done({"rollback", "app", "-y"}), "3 hosts returned"));
  CHECK(fleet.all_run("1.0"));
  CHECK(says(fleet.done({"rollback", "app", "-y"}), "0 hosts returned"));
}

TEST_CASE("what somebody put back by hand after the cord is repaired, and the cord pulled again does not bring it back", "[repair][cord]") {
  if (!long_campaign()) return;  // the pure half is in tests/plans
  RepairFleet fleet;
  fleet.done({"rollback", "app", "-y", "-q"});
  fleet.switch_by_hand("n-002", "1.1");
  fleet.done({"drift", "repair", "-y", "-m", "INC-9"});
  CHECK(fleet.all_run("1.0"));
  CHECK(says(fleet.done({"rollback", "app", "-y"}), "0 hosts returned"));
  CHECK(fleet.all_run("1.0"));
}
