// A host that lost ripcord's state folder and kept its files: everybody names it, nobody starts a second copy of its service, and what the
// message says to do works as it is printed.
#include <signal.h>

#include <filesystem>

#include "core/base/files.hpp"
#include "tests/cli/owed_fleet.hpp"

using namespace ripcord;
using namespace ripcord::test;
namespace fs = std::filesystem;

TEST_CASE("a host that lost its state and not its files is left alone by name, and comes back the way the message says", "[converge][lost]") {
  OwedFleet fleet(3, {"1.0", "1.1"});
  fleet.write_unit("1.2");
  const std::string host = fleet.folder() + "/hosts/n-002", unit = host + "/srv/app";
  const auto pids = services_below(unit);
  const auto link = read_link(unit + "/current").value_or("");
  REQUIRE(pids.size() == 1);
  write_file_durable(unit + "/" + link + "/mine", "a note", 0644);
  fs::remove_all(host + "/var/lib/ripcord");

  const std::string named = "'current' names " + link + ", and nothing is recorded about it: its state folder was emptied";
  const std::string cure = "`rm /srv/app/current` there, and `ripcord converge n-002 -m WHY` brings the release anew";
  for (int again = 0; again < 2; ++again) {  // the books say the same after the attempts
    auto drift = fleet.done({"drift"}, 2);
    CHECK(says(drift, named));
    CHECK(says(drift, cure));
    CHECK(says(fleet.done({"drift", "repair", "-y", "-m", "x"}, 2), "n-002 is left alone: " + named));
    CHECK(says(fleet.done({"converge", "-y", "-m", "x"}, 4), "n-002 is left alone: " + named));
    CHECK(says(fleet.done({"apply", "app-1.2/", "-y"}, 8), "n-002: " + named));
  }
  CHECK(services_below(unit) == pids);
  CHECK(read_link(unit + "/current").value_or("") == link);
  CHECK(read_file(unit + "/" + link + "/mine") == "a note");

  ::unlink((unit + "/current").c_str());  // half of it: the host itself refuses a second copy
  auto half = fleet.done({"converge", "n-002", "-y", "-m", "x"}, 4);
  INFO(half.output);
  CHECK(says(half, "n-002 failed at activate: unit 'app' has no release here, but process "));
  CHECK(services_below(unit) == pids);
  ::kill(pids[0], SIGKILL);
  fleet.done({"converge", "n-002", "-y", "-m", "its state was lost"});
  CHECK(fleet.all_run("1.1"));
  CHECK(services_below(unit).size() == 1);
  bool kept = false;
  for (const auto& entry : fs::directory_iterator(unit + "/releases"))
    kept = kept || (entry.path().filename().string().starts_with(".damaged-1.1-") && exists(entry.path().string() + "/mine"));
  CHECK(kept);
  CHECK(says(fleet.done({"drift"}), "0 of 3 hosts differ from what the ledger says"));
  CHECK(says(fleet.done({"rollback", "app", "-y"}), "3 hosts returned"));
  CHECK(fleet.all_run("1.0"));
}
