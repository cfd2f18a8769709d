// Who goes where when the cord is pulled, and how many could: pure.
#include "plans/rollback/rollback_plan.hpp"

#include "plans/hosts/readiness.hpp"
#include "tests/plans/cord_world.hpp"

using namespace ripcord;
using namespace ripcord::test;
using namespace ripcord::test::cord;

TEST_CASE("who goes where: the newest rollout is undone, everybody else only fenced", "[cord]") {
  Looked fleet;
  fleet.add(kTwo, op("r-2", OpPhase::confirmed, kOne, kTwo, 7));
  fleet.add(kTwo, op("r-1", OpPhase::confirmed, kOne, kTwo, 3));                  // has it from an older rollout
  fleet.add(kOne, op("r-2", OpPhase::reverted, kOne, kTwo, 7));                   // went back by itself
  fleet.add(kTwo, op("r-2", OpPhase::activated, kThree, kTwo, 7));                // not confirmed yet, and came from elsewhere
  fleet.add(std::nullopt, std::nullopt);                                          // carries nothing
  fleet.add(kTwo, op("r-2", OpPhase::confirmed, std::nullopt, kTwo, 7));          // back to nothing
  fleet.looks[2].look->unit.back_state = "none";
  auto plan = plan_rollback(fleet.looks, std::nullopt);
  CHECK(plan.undoes == "r-2");
  std::vector<Result> results;
  for (const auto& l : plan.lines) results.push_back(l.result);
  CHECK(results == std::vector<Result>{Result::returned, Result::unchanged, Result::unchanged, Result::returned, Result::unchanged, Result::returned});
  CHECK(plan.lines[0].target == kOne);
  CHECK(plan.lines[3].target == kThree);
  CHECK_FALSE(plan.lines[5].target);
}

TEST_CASE("a target that is not there, a link to nothing, a way back that was left unwell, and epochs that nobody gave", "[cord]") {
  Looked fleet;
  auto& lacks = fleet.add(kTwo, op("r-2", OpPhase::confirmed, kOne, kTwo, 7));
  lacks.back_state = "damaged", lacks.back = kOne;
  auto& gone = fleet.add(std::nullopt, op("r-2", OpPhase::confirmed, kOne, kTwo, 7));
  gone.current = Observation::Current::broken, gone.link_target = "releases/" + kTwo.folder();
  auto back = op("rb-1", OpPhase::needs_operator, kTwo, kOne, 8, false);
  auto& unwell = fleet.add(kOne, back);
  unwell.last_forward = op("r-2", OpPhase::confirmed, kOne, kTwo, 7);
  auto& liar = fleet.add(kTwo, op("r-evil", OpPhase::confirmed, kOne, kTwo, kMaxEpoch + 1));
  liar.epoch = kMaxEpoch + 1;
  auto plan = plan_rollback(fleet.looks, std::nullopt);
  CHECK(plan.undoes == "r-2");
  CHECK(plan.lines[0].lacks == "damaged");
  CHECK(plan.lines[1].before == kTwo);
  CHECK(plan.lines[1].target == kOne);
  CHECK(plan.lines[2].result == Result::returned);
  CHECK(plan.lines[2].target == kOne);
  CHECK(plan.lines[3].result == Result::failed);

  auto to = plan_rollback(fleet.looks, "1.2");
  CHECK(to.lines[0].target == kThree);
  CHECK(to.lines[0].lacks.empty());
  auto none = plan_rollback(fleet.looks, "0.9");
  CHECK(none.lines[0].lacks == "missing");
  CHECK(manifest_of_version(fleet.looks, "1.2") == kThree.manifest);
  fleet.looks[1].look->unit.releases.push_back({"1.2", sha256("other"), sha256("t")});
  CHECK_THROWS_WITH(manifest_of_version(fleet.looks, "1.2"), Catch::Contains("hosts hold different releases under the version 1.2"));
}

TEST_CASE("readiness counts what can go back now", "[cord]") {
  Looked fleet;
  auto set = [](Observation& o, const char* state, std::optional<ReleaseId> to, std::int64_t ms) { o.back_state = state, o.back = std::move(to), o.back_ms = ms; };
  set(fleet.add(kTwo, {}), "verified", kOne, 2100);
  set(fleet.add(kTwo, {}), "verified", kOne, 900);
  set(fleet.add(kTwo, {}), "verified", std::nullopt, 0);
  CHECK(readiness(fleet.looks).text() == "3 of 3 hosts can go back now, to 1.0 (2), nothing (1), in about 3s");
  CHECK(readiness(fleet.looks).exit == Exit::done);
  set(fleet.add(kTwo, {}), "damaged", kOne, 0);
  fleet.looks.back().look->unit.back_findings = {{"changed", "bin/server", "expected a, found b"}};
  set(fleet.add(kOne, {}), "none", std::nullopt, 0);
  fleet.add(kTwo, {});
  fleet.looks.back().look.reset();
  fleet.looks.back().fault = "connection timed out";
  auto r = readiness(fleet.looks);
  CHECK(r.text() == "3 of 5 hosts can go back now, to 1.0 (2), nothing (1), in about 3s; 1 damaged; 1 did not answer");
  CHECK(r.hosts[3].why == "'bin/server' changed expected a, found b");
  CHECK(r.hosts[5].why == "connection timed out");
  CHECK(r.exit == Exit::mixed);
  CHECK(readiness({}).text() == "no host has a release to go back to");
}
