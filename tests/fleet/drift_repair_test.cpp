// What drifted is put right, and never in the way of a rollout or the rip cord; what somebody edited is kept.
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>

#include "core/net/ledger_address.hpp"
#include "plans/files/fleet.hpp"
#include "tests/fleet/drift_fleet.hpp"

using namespace ripcord;
using namespace ripcord::test;
namespace fs = std::filesystem;

TEST_CASE("drift repair brings hosts back as a rollout would, keeps what was edited, and leaves the way back what it was", "[drift]") {
  DriftFleet fleet(3);
  put(fleet.at(1, "lib/a"), "a hot fix");
  put(fleet.hosts.seen(1, "/etc/app/extra.conf"), "level = 9\n");
  fleet.end_service(2);
  ::unlink((fleet.release(3, "1.0") + "/lib/b").c_str());
  auto said = fleet.ripcord({"drift"}).output;
  INFO(said);
  CHECK(said.find("web: 2 of 3 hosts can go back now, to 1.0, in about ") != said.npos);
  CHECK(said.find("; 1 damaged\n") != said.npos);
  CHECK(fleet.ripcord({"doctor", "--rollback"}).output.find("2 of 3 hosts can go back now, to 1.0, in about ") != std::string::npos);  // the same words

  CHECK(fleet.ripcord({"drift", "repair"}).exit == 8);  // nobody said yes
  CHECK(fleet.ripcord({"drift", "repair", "h7", "-y"}).exit == 8);
  auto repaired = fleet.ripcord({"drift", "repair", "-y", "-m", "INC-9"});
  INFO(repaired.output);
  CHECK(repaired.exit == 0);
  CHECK(fleet.ripcord({"drift", "--full"}).output.empty());
  CHECK(fleet.all_run("1.1"));
  std::string kept;  // the tree, and the file that lay elsewhere
  for (const auto& folder : fleet.kept(1))
    for (const char* file : {"/lib/a", "/extra.conf"})
      if (exists(folder + file)) kept += file + std::string(": ") + read_file(folder + file) + "; ";
  REQUIRE(fleet.kept(1).size() == 2);
  CHECK(kept.find("/lib/a: a hot fix; ") != kept.npos);
  CHECK(kept.find("/extra.conf: level = 9\n; ") != kept.npos);
  CHECK(repaired.output.find("edited by hand: /etc/app/extra.conf, kept in /srv/web/releases/.damaged-1.1-") != std::string::npos);
  CHECK(repaired.output.find("what was there is kept in /srv/web/releases/.damaged-1.1-") != std::string::npos);
  CHECK(fleet.kept(3).size() == 1);
  CHECK(fleet.count(3, "ACTIVATED") == 2);  // its way back was staged again, nothing was restarted
  CHECK(fleet.count(2, "ACTIVATED") == 3);
  auto history = fleet.ripcord({"history"}).output;
  INFO(history);
  CHECK(history.find("repair of h1, h2, h3") != history.npos);
  CHECK(fleet.ripcord({"drift", "repair", "-y"}).exit == 0);  // nothing left to do

  SECTION("the cord goes where it would have gone before") {
    auto back = fleet.ripcord({"rollback", "web", "-y"});
    INFO(back.output);
    CHECK(back.exit == 0);
    CHECK(fleet.all_run("1.0"));
  }
  SECTION("a hot-fixed file and the next rollout: refused, or set aside as evidence") {
    put(fleet.at(2, "lib/c"), "another hot fix");
    fleet.write_unit("1.2", drift_web("1.2"));
    auto refused = fleet.ripcord({"apply", "1.2/", "-y"});
    CHECK(refused.exit == 8);
    CHECK(refused.output.find("`on_drift: set_aside` in the plan would") != std::string::npos);
    fleet.write_plan("unit: web\nstages:\n  - {name: all, hosts: rest, slow_start: false}\nwindow: none\non_drift: set_aside\n");
    {  // somebody is at the unit: nothing is set aside beside him
      auto ledger = open_ledger(load_fleet(fleet.folder() + "/fleet.yaml").ledger);
      Lease other;
      other.scope = "web", other.holder = "another process", other.rollout = "r-other", other.who = "bob", other.machine = "ops-2";
      auto got = ledger->acquire(other, Millis(60000), 0, false);
      REQUIRE(got);
      auto held = fleet.ripcord({"apply", "1.2/", "-y"});
      INFO(held.output);
      CHECK(held.exit == 7);
      CHECK(held.output.find("unit 'web' is held by bob on ops-2") != std::string::npos);
      CHECK(fleet.kept(2).empty());
      ledger->release(*got);
    }
    auto applied = fleet.ripcord({"apply", "1.2/", "-y"});
    INFO(applied.output);
    CHECK(applied.exit == 0);
    CHECK(fleet.all_run("1.2"));
    REQUIRE(fleet.kept(2).size() == 1);
    CHECK(read_file(fleet.kept(2)[0] + "/lib/c") == "another hot fix");
    CHECK(applied.output.find("what was there is kept in /srv/web/releases/" + std::filesystem::path(fleet.kept(2)[0]).filename().string()) != std::string::npos);
    CHECK(fleet.ripcord({"drift", "--full"}).output.empty());
  }
  SECTION("hot-fixed files and the rip cord: it goes back all the same, and what was edited is kept") {
    put(fleet.at(1, "lib/a"), "a hot fix of what runs");
    put(fleet.hosts.seen(3, "/etc/app/extra.conf"), "level = 7\n");
    put(fleet.release(2, "1.0") + "/lib/b", "a hot fix of what it goes back to");
    auto back = fleet.ripcord({"rollback", "web", "-y"});
    INFO(back.output);
    CHECK(back.exit == 0);
    CHECK(fleet.all_run("1.0"));
    CHECK(read_file(fleet.release(1, "1.1") + "/lib/a") == "a hot fix of what runs");
    REQUIRE(fleet.kept(2).size() == 1);
    CHECK(read_file(fleet.kept(2)[0] + "/lib/b") == "a hot fix of what it goes back to");
    CHECK(fleet.scan({"--full"}).at("exit") == 0);
  }
}
