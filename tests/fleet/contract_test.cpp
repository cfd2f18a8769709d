// The compatibility contract on real hosts: what is refused, the two steps, the point of no return, what happens once.
#include <unistd.h>

#include "core/base/files.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/fleet_run.hpp"

using namespace ripcord;
using namespace ripcord::test;

TEST_CASE("formats: no way back is refused, two steps go through, a point of no return is passed by name and nothing is armed") {
  FleetRun fleet({.hosts = 2});
  WebUnit unit;
  unit.yaml = "formats: {orders-db: {reads: [6], writes: 6}}\n";
  fleet.write_unit("a", unit);
  REQUIRE(fleet.ripcord({"apply", "a/", "-y"}).exit == 0);
  unit.version = "2.0";
  unit.yaml = "formats: {orders-db: {reads: [6, 7], writes: 7}}\n";
  fleet.write_unit("c", unit);
  // Also where the old release was never sealed: its hosts have its manifest.
  auto elsewhere = fleet.second_folder();
  auto there = fleet.ripcord({"plan", fleet.folder() + "/c/", "-o", "json"}, elsewhere);
  CHECK(says(there, "no way back: web@2.0 writes orders-db 7, and web@1.0, which it replaces, reads only 6"));
  auto refused = fleet.ripcord({"apply", "c/", "-y"});
  INFO(refused.output);
  CHECK(refused.exit == 8);
  CHECK(says(refused, "ripcord: error: no way back: web@2.0 writes orders-db 7, and web@1.0, which it replaces, reads only 6; take two steps: "));
  for (int i : {1, 2}) CHECK(fleet.count(i, "INTENT") == 1);

  unit.version = "1.1";
  unit.yaml = "formats: {orders-db: {reads: [6, 7], writes: 6}}\n";
  fleet.write_unit("b", unit);
  auto first = fleet.ripcord({"apply", "b/", "-y"});
  INFO(first.output);
  CHECK(first.exit == 0);
  auto second = fleet.ripcord({"apply", "web@2.0", "-y"});
  INFO(second.output);
  CHECK(second.exit == 0);
  CHECK(fleet.all_run("2.0"));

  unit.version = "3.0";
  unit.yaml = "formats: {orders-db: {reads: [7, 8], writes: 8}}\n";
  fleet.write_unit("d", unit);
  CHECK(fleet.ripcord({"apply", "d/", "-y", "--point-of-no-return", "orders-db:8"}).exit == 64);
  auto past = fleet.ripcord({"apply", "d/", "-y", "--point-of-no-return", "orders-db:8", "-m", "backups are made"});
  INFO(past.output);
  CHECK(past.exit == 0);
  CHECK(says(past, "PAST orders-db:8 NOTHING GOES BACK"));
  CHECK(fleet.all_run("3.0"));
  for (int i : {1, 2})
    for (const auto& r : fleet.journal(i))
      if (get_string(r, "kind") == "INTENT" && get_string(get_object(r, "to"), "version") == "3.0") {
        CHECK_FALSE(get_bool(r, "forward"));
        const auto op = get_string(r, "op");
        for (const auto& other : fleet.journal(i)) CHECK_FALSE((get_string(other, "kind") == "ARMED" && get_string(other, "op") == op));
      }
  CHECK(says(fleet.ripcord({"status"}), "; PAST THE POINT OF NO RETURN orders-db:8\n"));
  CHECK(says(fleet.ripcord({"history"}), "PAST THE POINT OF NO RETURN orders-db:8: backups are made"));
  // The cord without a target takes nobody to a release that cannot read what was written.
  auto cord = fleet.ripcord({"rollback", "web", "-y"});
  INFO(cord.output);
  CHECK(fleet.all_run("3.0"));
}

TEST_CASE("once: real programs before their stage; a failure pauses with exit 6; the same release elsewhere first; a third version is refused") {
  FleetRun fleet({.hosts = 3});
  fleet.write("migrate", "#!/bin/sh\necho \"$RIPCORD_UNIT $RIPCORD_VERSION\" >>migrated-log\nif [ -e broken ]; then echo no table >&2; exit 1; fi\ntouch migrated\n", 0755);
  const std::string plan =
      "unit: web\nstages:\n  - {name: first, hosts: 1}\n  - {name: rest, hosts: rest}\nwindow: none\n"
      "once: {before: rest, run: [./migrate], check: [test, -e, migrated]}\n";
  fleet.write_plan(plan);
  fleet.write("broken", "");
  fleet.write_unit("a", {});
  auto paused = fleet.ripcord({"apply", "a/", "-y"});
  INFO(paused.output);
  CHECK(paused.exit == 6);
  CHECK(says(paused, "once: ./migrate failed: exit status 1"));
  CHECK(fleet.version(1) == "1.0");
  CHECK(fleet.version(2) == "");
  REQUIRE(::unlink((fleet.folder() + "/broken").c_str()) == 0);
  auto retried = fleet.ripcord({"retry", "web"});
  INFO(retried.output);
  CHECK(retried.exit == 0);
  CHECK(fleet.all_run("1.0"));
  CHECK(read_file(fleet.folder() + "/migrated-log") == "web 1.0\nweb 1.0\n");

  WebUnit unit;
  unit.version = "1.1";
  fleet.write_unit("b", unit);
  auto again = fleet.ripcord({"apply", "b/", "-y", "--limit", "host=h1", "-m", "one only"});
  INFO(again.output);
  CHECK(fleet.version(1) == "1.1");
  CHECK(read_file(fleet.folder() + "/migrated-log") == "web 1.0\nweb 1.0\n");  // done, its check says

  unit.version = "1.2";
  fleet.write_unit("c", unit);
  auto third = fleet.ripcord({"apply", "c/", "-y"});
  INFO(third.output);
  CHECK(third.exit == 8);
  CHECK(says(third, "1.2 would be the third live version: hosts run 1.0 on 2, 1.1 on 1, and at most two may live in a fleet at once"));
  auto named = fleet.ripcord({"apply", "c/", "-y", "--also-live", "1.1", "-m", "mend the canary"});
  INFO(named.output);
  CHECK(named.exit == 0);
  CHECK(fleet.all_run("1.2"));
  CHECK(says(named, "way back to 1.1 proven on "));  // each release that was replaced has its walk
  CHECK(says(named, "way back to 1.0 proven on "));

  fleet.write("staging.yaml", "fleet: staging\nlink: local\nledger: staging.db\ndatacenters: {a: {hosts: s1}}\n");
  fleet.write_plan("unit: web\nstages: [{name: all, hosts: rest}]\nwindow: none\nrequires: {fleet: staging, completed: 0s}\n");
  unit.version = "1.3";
  fleet.write_unit("d", unit);
  auto first = fleet.ripcord({"apply", "d/", "-y"});
  INFO(first.output);
  CHECK(first.exit == 8);
  CHECK(says(first, "the plan requires web@1.3 to be completed on fleet 'staging' first: this very release of web was not completed on fleet 'staging' yet"));
  CHECK(fleet.all_run("1.2"));
}
