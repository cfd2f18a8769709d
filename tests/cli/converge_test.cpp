// converge with the built program on a local fleet: hosts that came back, joined and were installed again run what the others run, and go
// back where the others go.
#include <signal.h>

#include <filesystem>

#include "core/base/files.hpp"
#include "tests/cli/owed_fleet.hpp"
#include "tests/support/campaign.hpp"

using namespace ripcord;
using namespace ripcord::test;
namespace fs = std::filesystem;

namespace {

struct ConvergeFleet : OwedFleet {
  ConvergeFleet() : OwedFleet(3, {"1.0"}) { write_unit("1.1"); }
  // An empty disk: nothing runs there, and nothing is known.
  void install_again(const std::string& name) const {
    kill_services(name);
    fs::remove_all(host(name));
  }
  bool holds(const std::string& name, const std::string& version) const {
    for (const auto& e : fs::directory_iterator(host(name) + "/srv/app/releases"))
      if (e.path().filename().string().starts_with(version + "-")) return true;
    return false;
  }
};

}  // namespace

TEST_CASE("a host that was down is owed, comes back, and is caught up from a machine that has nothing; then all is clean") {
  ConvergeFleet fleet;
  fs::rename(fleet.host("n-003"), fleet.folder() + "/away");
  fleet.write("hosts/n-003", "no folder");
  fleet.done({"apply", "app-1.1/", "-y", "-q"}, 4);
  CHECK(says(fleet.done({"converge", "-y", "-m", "too early"}, 4), "warning: n-003 did not answer, and stays owed: "));
  fs::remove(fleet.host("n-003"));
  fs::rename(fleet.folder() + "/away", fleet.host("n-003"));

  CHECK(fleet.ripcord({"converge", "-y"}).exit == 64);
  CHECK(fleet.ripcord({"converge", "-m", "back"}).exit == 8);
  CHECK(says(fleet.done({"converge", "n-009", "-y", "-m", "x"}, 8), "'n-009' matches no host"));
  for (auto words : std::vector<std::vector<std::string>>{{"converge", "n-001,n-009", "-y", "-m", "x"}, {"rollback", "app", "--limit", "n-001,n-009", "-y"},
                                                          {"plan", "app@1.1", "--limit", "n-001,n-009"}, {"drift", "--limit", "n-001,n-009"}})
    CHECK(says(fleet.done(words, 8), "no host and no label is called 'n-009', did you mean 'n-00"));
  auto other = fleet.second_machine();
  CHECK(says(fleet.done({"converge", "--dry-run"}, 0, other), "n-003  1.0   1.1  it missed r-"));
  CHECK(fleet.version("n-003") == "1.0");
  auto caught_up = fleet.done({"converge", "-y", "-m", "it is back"}, 0, other);
  CHECK(says(caught_up, "n-003 confirmed 1.1"));
  CHECK(fleet.all_run("1.1"));
  CHECK(says(fleet.done({"status"}), "the hosts that it missed were caught up"));
  CHECK(fleet.done({"drift"}).output.empty());
  fleet.done({"prune", "app", "-y", "-q"});
  CHECK(says(fleet.done({"history"}), "convergence of app@1.1 to 1 host started: it is back"));
  CHECK(says(fleet.done({"converge", "-y", "-m", "again"}), "nothing is owed: 3 hosts looked at"));
  // One cord undoes the rollout on all three, the late one included.
  CHECK(says(fleet.done({"rollback", "app", "-y"}), "3 hosts returned"));
  CHECK(fleet.all_run("1.0"));
}

TEST_CASE("hosts that joined or were installed again get the release and what it replaced, and go back with the others; strangers are named") {
  ConvergeFleet fleet;
  fleet.done({"apply", "app-1.1/", "-y", "-q"});
  fleet.install_again("n-002");
  fleet.write_fleet({"n-001", "n-002", "n-003", "n-004", "n-005"});
  make_dirs(fleet.host("n-005") + "/srv/app/current");  // somebody's own
  CHECK(says(fleet.done({"hosts"}), "it was installed again since it took 1.1"));
  auto drift = fleet.done({"drift"}, 4);
  CHECK(says(drift, "owed: it was installed again"));
  CHECK(says(drift, "owed: it matches the unit's hosts and never had it"));
  CHECK(says(fleet.done({"status"}, 4), "owed     n-[004:005]: app@1.1: it matches the unit's hosts and never had it"));

  auto r = fleet.done({"converge", "-y", "-m", "new machines"}, 4);
  CHECK(says(r, "warning: n-005 is left alone: 'current' is a real folder, not a link; move it away by hand first"));
  CHECK(says(r, "app@1.0, which the others can go back to, is staged on 2 hosts"));
  for (const char* name : {"n-002", "n-004"}) {
    CHECK(fleet.version(name) == "1.1");
    CHECK(fleet.holds(name, "1.0"));
  }
  CHECK(fs::is_directory(fs::symlink_status(fleet.host("n-005") + "/srv/app/current")));
  CHECK(says(fleet.done({"hosts", "--limit", "n-001,n-002,n-003,n-004"}), "app: 4 of 4 hosts can go back now, to 1.0"));
  fs::remove_all(fleet.host("n-005") + "/srv");
  fleet.done({"hosts", "retire", "n-005", "-m", "not ours"});
  fleet.write_fleet({"n-001", "n-002", "n-003", "n-004"});
  fleet.done({"status"});

  // Nobody's ledger is needed for that: the hosts know where they are to go.
  auto alone = fleet.second_machine();
  auto text = read_file(alone + "/fleet.yaml");
  text.replace(text.find("ledger: "), text.find('\n', text.find("ledger: ")) - text.find("ledger: "), "ledger: " + alone + "/none.db");
  write_file_durable(alone + "/fleet.yaml", text, 0644);
  CHECK(says(fleet.done({"rollback", "app", "-y"}, 0, alone), "4 hosts returned"));
  for (const char* name : {"n-001", "n-002", "n-003", "n-004"}) CHECK(fleet.version(name) == "1.0");
  if (long_campaign()) CHECK(says(fleet.done({"rollback", "app", "-y"}, 0, alone), "0 hosts returned"));
}

TEST_CASE("a host that joins after the cord gets what the cord left, and the cord pulled again does not move it") {
  if (!long_campaign()) return;  // the pure half is in tests/plans
  ConvergeFleet fleet;
  fleet.done({"apply", "app-1.1/", "-y", "-q"});
  fleet.done({"rollback", "app", "-y", "-q"});
  fleet.write_fleet({"n-001", "n-002", "n-003", "n-004"});
  CHECK(says(fleet.done({"converge", "n-004", "-y", "-m", "joined"}), "app@1.0, where the rip cord left it"));
  CHECK(fleet.version("n-004") == "1.0");
  CHECK(says(fleet.done({"rollback", "app", "-y"}), "0 hosts returned"));
  CHECK(fleet.version("n-004") == "1.0");
  fleet.done({"status"}, 3);  // the rollout was rolled back, and that is what it says
}

TEST_CASE("a release that is applied once more is no decision of its own: the cord undoes the one that brought it, on every host") {
  ConvergeFleet fleet;
  fleet.done({"apply", "app-1.1/", "-y", "-q"});
  fleet.install_again("n-002");
  fleet.kill_services("n-003");
  auto again = fleet.done({"apply", "app@1.1", "-y", "-m", "one was installed again, one had died"});
  CHECK(says(again, "n-002 confirmed 1.1"));
  CHECK(says(again, "n-003 confirmed 1.1"));
  CHECK(fleet.all_run("1.1"));
  CHECK(fleet.holds("n-002", "1.0"));
  CHECK(says(fleet.done({"rollback", "app", "-y"}), "3 hosts returned"));
  CHECK(fleet.all_run("1.0"));
}
