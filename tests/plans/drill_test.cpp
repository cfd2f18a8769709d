// Drills on live hosts: each goes back and comes forward again, one at a time, and ends where it was whatever happens.
#include "plans/rollout/drill.hpp"

#include "tests/plans/world.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

// Every host runs 2.0, brought by rollout r-orig; the drill takes three of six.
struct Drilling : World {
  int most_on_old = 0;
  explicit Drilling(std::string_view kind, int drilled = 3) : World(6, 1) {
    for (std::size_t i = 0; i < names.size(); ++i) {
      auto& host = hosts->host(names[i]);
      const auto& plan = spec.hosts[i];
      OpState op;
      op.op = "op-orig-" + host.name;
      op.rollout = "r-orig";
      op.phase = OpPhase::confirmed;
      op.from = plan.from;
      op.to = plan.to;
      host.ops[op.op] = op;
      host.last_op = host.last_forward = op.op;
      host.running = plan.to;
      host.staged.insert(plan.to.folder());
    }
    spec.hosts.resize(static_cast<std::size_t>(drilled));
    for (auto& h : spec.hosts) h.journalled_as = "r-orig", h.datacenter = "ams";
    spec.drill = kind;
    spec.lapse_within = Millis(10000);
    spec.stages[0].bake = Millis(0);
    spec.stages[0].max_parallel = 1;
  }
  Life drill(bool resume = false, int kill = -1, bool no_wait = false) {
    return run(resume, kill, [this](Engine&) { most_on_old = std::max(most_on_old, running("1.0")); }, no_wait);
  }
  std::vector<std::string> walked() const {
    std::vector<std::string> out;
    for (const auto& p : all_proofs(memory.entries, "storefront")) out.push_back(p.host);
    return out;
  }
  void abort() { say({{"kind", "rollout.aborted"}, {"why", "stop"}}); }
};

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("a rollback drill walks the way back on each host, one after another, and the cord still undoes the rollout before it") {
  Drilling w(kDrillRollback);
  CHECK(w.drill().exit == Exit::done);
  CHECK(w.walked() == Names{"web-001", "web-002", "web-003"});
  CHECK(w.running("2.0") == 6);
  CHECK(w.most_on_old == 1);
  for (int i = 1; i <= 6; ++i) {
    const auto& host = w.hosts->host(fmt::format("web-{:03}", i));
    CHECK(host.switches.size() == (i <= 3 ? 2 : 0));
    CHECK(host.ops.at(host.last_forward).rollout == "r-orig");
    CHECK(host.ops.at(host.last_forward).from == w.spec.hosts[0].from);
  }
  // Neither a rollout, nor what is stable by the ledger, changes by it.
  CHECK(rollouts(w.memory.entries, "").empty());
  CHECK_FALSE(newest_rollout(w.memory.entries, "storefront"));
  auto lines = history(w.memory.entries, "", false);
  CHECK(lines.front().what == "rollback drill of storefront@2.0 on 3 hosts started");
  CHECK(lines.back().what == "drill completed");
}

TEST_CASE("a drill that finds a way back broken brings the host forward again, stops, and ends the proof") {
  Drilling w(kDrillRollback);
  w.hosts->host("web-002").faults.way_back_broken = true;
  auto life = w.drill();
  CHECK(life.exit == Exit::failed);
  CHECK(w.walked() == Names{"web-001"});
  CHECK(w.running("2.0") == 6);
  CHECK(w.hosts->host("web-003").switches.empty());
  CHECK(standing_proofs(w.memory.entries, "storefront").empty());
  auto lines = history(w.memory.entries, "", false);
  CHECK(std::any_of(lines.begin(), lines.end(), [](const HistoryLine& l) {
    return l.what == "the way back from 2.0 to 1.0 does not work on web-002: going back: health failed: 500";
  }));
}

TEST_CASE("a dead-man drill: the host goes back by itself; one that only does so when asked needs a person") {
  Drilling w(kDrillDeadman);
  CHECK(w.drill().exit == Exit::done);
  CHECK(w.walked().size() == 3);
  CHECK(w.running("2.0") == 6);
  int reverted = 0;
  for (const auto& [name, host] : w.hosts->hosts())
    for (const auto& [id, op] : host->ops) reverted += op.phase == OpPhase::reverted;
  CHECK(reverted == 3);
  for (const auto& h : w.spec.hosts) CHECK(w.hosts->host(h.name).ops.at(w.hosts->host(h.name).last_forward).phase == OpPhase::confirmed);

  Drilling dead(kDrillDeadman);
  dead.hosts->host("web-001").faults.deadman_dead = true;
  CHECK(dead.drill().exit == Exit::mixed);
  CHECK(dead.state().hosts()[0].reason == "it went back only when it was asked: its dead-man switch did not act");
  CHECK(dead.hosts->host("web-002").switches.empty());
}

TEST_CASE("killed at every append and resumed, a drill ends with every host where it was") {
  for (auto kind : {kDrillRollback, kDrillDeadman})
    for (int kill = 1; kill < 40; ++kill) {
      Drilling w(kind, 2);
      auto life = w.drill(false, kill);
      for (int again = 0; again < 6 && life.killed; ++again) life = w.drill(true);
      INFO(kind << " killed after append " << kill);
      CHECK(life.error == "");
      CHECK(life.exit == Exit::done);
      CHECK(w.running("2.0") == 6);
      CHECK(w.walked() == Names{"web-001", "web-002"});
      CHECK(w.most_on_old <= 1);
    }
}

TEST_CASE("an abort ends a drill after the host that is out has come forward") {
  int out = 0;
  for (int kill = 1; kill < 14; ++kill) {
    Drilling w(kDrillRollback);
    auto life = w.drill(false, kill);
    REQUIRE(life.killed);
    out += w.running("1.0");
    w.abort();
    CHECK(w.drill(true).exit == Exit::failed);
    CHECK(w.running("2.0") == 6);
    CHECK(w.hosts->host("web-004").switches.empty());
  }
  CHECK(out > 2);
}

TEST_CASE("outside its window no drill begins") {
  Drilling w(kDrillRollback);
  w.spec.window = Window{{1, 2, 3, 4, 5}, 13 * 60, 14 * 60, "UTC"};
  CHECK(w.drill(false, -1, true).exit == Exit::waiting);
  CHECK(w.most_on_old == 0);
  CHECK(w.drill(true).exit == Exit::done);
}

TEST_CASE("which hosts are drilled: some of each datacenter, those walked longest ago, none that is not well") {
  const ReleaseId one{"1.0", sha256("1"), sha256("t1")}, two{"2.0", sha256("2"), sha256("t2")};
  std::vector<Host> hosts(7);
  std::vector<HostLook> looks(7);
  for (std::size_t i = 0; i < 7; ++i) {
    hosts[i].name = fmt::format("h{}", i + 1);
    hosts[i].datacenter = i < 3 ? "ams" : i < 6 ? "fra" : "nyc";
    hosts[i].labels["datacenter"] = hosts[i].datacenter;
    looks[i].host = &hosts[i];
    Look l;
    l.unit.running = two;
    l.unit.way_back = one;
    l.unit.releases = {one, two};
    l.unit.tree_state = "verified";
    l.unit.process_ok = true;
    l.unit.last_forward = OpState{};
    l.unit.last_forward->rollout = "r-1";
    looks[i].look = l;
  }
  looks[3].look->unit.running = one;
  looks[4].look->unit.releases = {two};
  looks[6].look->unit.process_ok = false;
  std::vector<Proof> walked(1);
  walked[0].host = "h1";
  walked[0].at = kNoon;
  auto choice = choose_drill(looks, 1, "datacenter", walked);
  REQUIRE(choice.hosts.size() == 2);
  CHECK(choice.hosts[0].name == "h2");
  CHECK(choice.hosts[1].name == "h6");
  CHECK(choice.hosts[0].from == one);
  CHECK(choice.hosts[0].to == two);
  CHECK(choice.hosts[0].journalled_as == "r-1");
  CHECK(choice.skipped == Names{"h4: runs 1.0, and most hosts 2.0", "h5: does not hold 1.0 any more, its way back", "h7: is not healthy"});
  CHECK(choice.without == Names{"nyc"});
  CHECK(choose_drill(looks, 2, "", walked).hosts.size() == 2);

  Fleet fleet;
  fleet.datacenters = {"ams", "fra"};
  walked.push_back(walked[0]);
  walked[1].at = kNoon + Millis(1000);
  walked[0].datacenter = walked[1].datacenter = "ams";
  auto report = last_walks(fleet, walked);
  CHECK(report[0].second->at == kNoon + Millis(1000));
  CHECK_FALSE(report[1].second);
}
