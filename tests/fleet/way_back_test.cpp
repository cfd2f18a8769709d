// The way back is walked on real hosts before the release goes wide: what it leaves in the ledger, and what stops it.
#include "core/base/files.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/fleet_run.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

std::vector<json::object> ledger(const FleetRun& fleet, const std::string& kind) {
  std::vector<json::object> out;
  auto all = parse_json_object(fleet.ripcord({"history", "--all", "-o", "json"}).output, "history");
  for (const auto& line : get_array(all, "history"))
    if (get_string(line.as_object(), "kind") == kind) out.push_back(line.as_object());
  return out;
}

}  // namespace

TEST_CASE("the way back is walked on one host before any other goes forward; a second plan finds the proof; --unproven is by name") {
  FleetRun fleet({.hosts = 3});
  fleet.write_unit("a", {});
  REQUIRE(fleet.ripcord({"apply", "a/", "-y"}).exit == 0);
  WebUnit unit;
  unit.version = "1.1";
  fleet.write_unit("b", unit);
  auto plan = fleet.ripcord({"plan", "b/"});
  CHECK(says(plan, "to 1.0 (3 hosts): rehearsed on h1, forward, back and forward again, before any other host\n"));
  CHECK(fleet.ripcord({"plan", "b/", "--unproven", "1.0"}).exit == 64);
  auto unknown = fleet.ripcord({"apply", "b/", "-y", "--unproven", "1.1", "-m", "x"});
  CHECK(unknown.exit == 8);
  CHECK(says(unknown, "--unproven '1.1' names no release that is replaced here (replaced: 1.0)"));

  auto applied = fleet.ripcord({"apply", "b", "-y"});
  INFO(applied.output);
  REQUIRE(applied.exit == 0);
  CHECK(fleet.all_run("1.1"));
  CHECK(says(applied, "h1 rehearsal: back to 1.0"));
  CHECK(says(applied, "h1 rehearsal: runs 1.0 again, verified"));
  CHECK(says(applied, "way back to 1.0 proven on h1: forward in "));
  // The journals agree: the first host went there and back and there again, by three operations, the others once.
  std::vector<std::string> ways;
  for (const auto& r : fleet.journal(1))
    if (get_string(r, "kind") == "INTENT") ways.push_back(get_string(get_object(r, "to"), "version"));
  CHECK(ways == std::vector<std::string>{"1.0", "1.1", "1.0", "1.1"});
  for (int i : {2, 3}) CHECK(fleet.count(i, "INTENT") == 2);
  CHECK(fleet.most_activated(1) == "");
  auto proofs = ledger(fleet, "rollback.proof");
  REQUIRE(proofs.size() == 1);
  CHECK(get_string(proofs[0], "what") == "way back from 1.1 to 1.0 proven on h1");

  // Pulled back, and forward once more: the proof holds, and nobody walks again.
  REQUIRE(fleet.ripcord({"rollback", "web", "-y"}).exit == 0);
  CHECK(says(fleet.ripcord({"plan", "web@1.1"}), "to 1.0 (3 hosts): proven on h1 at "));
  auto again = fleet.ripcord({"apply", "web@1.1", "-y"});
  INFO(again.output);
  CHECK(again.exit == 0);
  CHECK_FALSE(says(again, "rehearsal"));
  CHECK(fleet.all_run("1.1"));

  unit.version = "1.2";
  fleet.write_unit("c", unit);
  auto waived = fleet.ripcord({"apply", "c/", "-y", "--unproven", "web@1.1", "-m", "no time"});
  INFO(waived.output);
  CHECK(waived.exit == 0);
  CHECK(says(waived, "the way back to web@1.1 is UNPROVEN: nobody walks it before 3 hosts make it"));
  CHECK(ledger(fleet, "rollback.proof").size() == 1);
  CHECK(says(fleet.ripcord({"status"}), "; THE WAY BACK TO 1.1 IS UNPROVEN\n"));
  CHECK(says(fleet.ripcord({"history"}), "THE WAY BACK TO 1.1 UNPROVEN: no time"));

  auto text = read_file(fleet.folder() + "/fleet.yaml");
  fleet.write("fleet.yaml", "protected: true\n" + text);
  unit.version = "1.3";
  fleet.write_unit("d", unit);
  auto refused = fleet.ripcord({"apply", "d/", "-y", "--fleet-name", "test", "--unproven", "1.2", "-m", "no time"});
  CHECK(refused.exit == 8);
  CHECK(says(refused, "--unproven is refused: fleet 'test' is protected"));
  CHECK(fleet.all_run("1.2"));
}

TEST_CASE("a release whose data the old one cannot live with is stopped at its first host: exit 5, the others untouched") {
  FleetRun fleet({.hosts = 3});
  WebUnit unit;
  unit.yaml = "persist: [data]\n";
  const std::string times = "    - command: [/bin/sh, bin/check, \"${shared}\"]\n  interval: 100ms\n  min_healthy_time: 100ms\n  healthy_deadline: 2s\n";
  unit.health = times;
  unit.files = {{"code/bin/check", "test ! -e \"$1/data/v2\"\n"}};
  fleet.write_unit("a", unit);
  auto first = fleet.ripcord({"apply", "a/", "-y"});
  INFO(first.output);
  REQUIRE(first.exit == 0);
  unit.version = "2.0";
  unit.files = {{"code/bin/check", "touch \"$1/data/v2\"\n"}};
  fleet.write_unit("b", unit);
  auto stopped = fleet.ripcord({"apply", "b/", "-y"});
  INFO(stopped.output);
  CHECK(stopped.exit == 5);
  CHECK(says(stopped, "rolling back: the way back from 2.0 to 1.0 does not work on h1: going back: health failed"));
  CHECK(fleet.version(1) == "1.0");
  for (int i : {2, 3}) {
    CHECK(fleet.version(i) == "1.0");
    CHECK(fleet.count(i, "INTENT") == 1);
  }
  CHECK(ledger(fleet, "rollback.proof").empty());
  CHECK(says(fleet.ripcord({"history"}), "the way back does not work on h1: "));
}
