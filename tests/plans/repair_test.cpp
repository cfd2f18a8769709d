// A repair decides nothing: the rip cord goes past it, and where it does not succeed the books stay what they were.
#include "plans/rollout/repair.hpp"

#include "plans/ledger/drift_intent.hpp"
#include "tests/plans/world.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

const ReleaseId kOne{"1.0", sha256("m1"), sha256("t1")}, kTwo{"1.1", sha256("m2"), sha256("t2")}, kByHand{"1.2", sha256("m3"), sha256("t3")};

struct Repaired {
  Host host;
  std::vector<HostLook> looks;
  RolloutSpec spec;
  Repaired(std::optional<ReleaseId> from, ReleaseId to, std::optional<OpState> last_forward) {
    host.name = "h1";
    looks.resize(1);
    looks[0].host = &host;
    looks[0].look.emplace();
    looks[0].look->unit.last_forward = std::move(last_forward);
    HostPlan plan;
    plan.name = "h1", plan.from = std::move(from), plan.to = std::move(to), plan.unchanged = true;
    spec.hosts.push_back(plan);
    spec.stages.resize(1);
    spec.stages[0].bake = Millis(3600000), spec.stages[0].approval = true;
    make_repair(spec, looks);
  }
  const HostPlan& plan() const { return spec.hosts[0]; }
};

OpState brought(std::optional<ReleaseId> from, ReleaseId to, std::optional<ReleaseId> undo_to = std::nullopt) {
  OpState op;
  op.rollout = "r-1", op.forward = true, op.phase = OpPhase::confirmed, op.from = std::move(from), op.to = std::move(to), op.undo_to = std::move(undo_to);
  return op;
}

}  // namespace

TEST_CASE("a repaired host goes back where it would have gone before, whatever somebody had put there", "[repair]") {
  Repaired moved(kByHand, kTwo, brought(kOne, kTwo));
  CHECK(moved.plan().journalled_as == "r-1");
  CHECK(moved.plan().undo_to == kOne);
  CHECK_FALSE(moved.plan().unchanged);
  CHECK(moved.spec.purpose == kRepair);
  CHECK(moved.spec.stages[0].bake == Millis(10000));
  CHECK_FALSE(moved.spec.stages[0].approval);
  Repaired converged(kByHand, kTwo, brought(std::nullopt, kTwo, kOne));  // it had joined, and its way back was named
  CHECK(converged.plan().undo_to == kOne);
  Repaired after_the_cord(kTwo, kOne, brought(kOne, kTwo));  // back on 1.0 by the cord, and 1.1 again by hand: the cord stays at 1.0
  CHECK(after_the_cord.plan().journalled_as == "r-1");
  CHECK(after_the_cord.plan().undo_to == kOne);
  Repaired whole(kTwo, kTwo, brought(kOne, kTwo));  // only its files or its process: no forward operation in its journal's eyes
  CHECK(whole.plan().journalled_as.empty());
  CHECK(whole.plan().undo_to == std::nullopt);
  Repaired unknown(std::nullopt, kTwo, std::nullopt);
  CHECK(unknown.plan().journalled_as.empty());
}

TEST_CASE("a repair or a convergence that does not succeed on a host leaves what was decided about it as it was", "[repair]") {
  for (auto purpose : {kRepair, kConverge}) {
    World w(3, 1);
    w.spec.unproven = {"1.0", "1.5"};
    REQUIRE(w.run(false).exit == Exit::done);
    const auto decided = fold_intents(w.memory.entries).at("storefront").at("web-003");
    REQUIRE(decided.version() == "2.0");
    w.give("web-003", "1.5");  // by hand
    w.spec.id = "r-repair", w.spec.purpose = std::string(purpose);
    w.spec.hosts.erase(w.spec.hosts.begin(), w.spec.hosts.begin() + 2);
    w.hosts->host("web-003").faults.unhealthy = true;
    CHECK(w.run(false).exit == Exit::failed);
    CHECK(w.hosts->host("web-003").running->version == "1.5");
    const auto after = fold_intents(w.memory.entries).at("storefront").at("web-003");
    CHECK(after.folder == decided.folder);
    CHECK(after.standing == decided.standing);
    CHECK(after.rollout == decided.rollout);
  }
}
