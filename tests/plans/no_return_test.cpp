// Past a point of no return: nothing is armed, nothing goes back, a person decides. And what the ledger knows of releases elsewhere.
#include "plans/ledger/live_releases.hpp"
#include "tests/plans/world.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

struct Past : World {
  explicit Past(int n) : World(n) {
    spec.no_return = {"orders-db:7"};
    spec.rollback_on_failure = false;
  }
};

}  // namespace

TEST_CASE("past a point of no return no host is armed and nobody rehearses") {
  Past w(6);
  CHECK(w.run(false).exit == Exit::done);
  CHECK(w.running("2.0") == 6);
  CHECK(w.most_unconfirmed == 0);
  for (const auto& [name, host] : w.hosts->hosts()) {
    CHECK(host->last_forward.empty());  // a rip cord without a target leaves it
    CHECK(host->switches.size() == 1);
  }
  CHECK(all_proofs(w.memory.entries, "").empty());
}

TEST_CASE("past a point of no return a failure pauses, and the host stays where it is") {
  Past w(6);
  w.hosts->host("web-002").faults.way_back_broken = true;  // the step that is not armed fails its health check
  CHECK(w.run(false).exit == Exit::waiting);
  CHECK(w.state().pause_why == "1 host failed (web-002: health failed: 500); on_failure is pause");
  CHECK(w.hosts->host("web-002").running->version == "2.0");
  CHECK(w.state().hosts()[1].switched);
}

TEST_CASE("past a point of no return a host that cannot be undrained pauses the rollout; resume tries it again") {
  Past w(6);
  w.hosts->host("web-001").faults.undrain_fails = 2;
  CHECK(w.run(false).exit == Exit::waiting);
  CHECK(w.state().pause_why == "web-001 runs 2.0 and is not back in service: undrain: the balancer says no; `resume` tries again");
  CHECK(w.running("2.0") == 1);
  CHECK(w.run(true).exit == Exit::waiting);
  CHECK(w.state().drained.contains(0));
  CHECK(w.running("2.0") == 1);
  CHECK(w.run(true).exit == Exit::done);
  CHECK(w.running("2.0") == 6);
}

TEST_CASE("past a point of no return no strong dead-man switch is demanded: none is armed") {
  Past w(3);
  w.spec.demand_strong_deadman = true;
  CHECK(w.run(false).exit == Exit::done);
}

TEST_CASE("past a point of no return a host whose answer was lost is asked what it did, also when it is halted meanwhile") {
  Past w(6);
  auto& host = w.hosts->host("web-001");
  host.faults.lose_activate_reply = true;
  auto halt_once_switched = [&](Engine&) {
    if (host.running->version == "2.0" && !host.halted) host.halted = Halt{"h-1", "bob", "desk", "look", w.clock.wall().ms};
  };
  w.run(false, -1, halt_once_switched);
  CHECK(w.state().hosts()[0].phase == HostPhase::confirmed);
  CHECK(host.switches.size() == 1);
}

TEST_CASE("past a point of no return an abort ends with every switched host named") {
  Past w(6);
  w.hosts->host("web-002").faults.way_back_broken = true;
  REQUIRE(w.run(false).exit == Exit::waiting);
  const int on_new = w.running("2.0");
  CHECK(on_new >= 2);
  w.say({{"kind", "rollout.aborted"}, {"why", "enough"}});
  CHECK(w.run(true).exit == Exit::mixed);
  CHECK(w.running("2.0") == on_new);
  const auto& ended = w.memory.entries.back().body;
  CHECK(ended.at("outcome") == "needs_person");
  CHECK(ended.at("owed").as_array().size() == static_cast<std::size_t>(on_new));
  CHECK(get_string(ended, "why") == "aborted: enough; past the point of no return orders-db:7 nothing goes back");

  Past early(3);
  early.spec.stages[0].approval = true;
  REQUIRE(early.run(false, -1, {}, true).exit == Exit::waiting);
  early.say({{"kind", "rollout.aborted"}, {"why", "enough"}});
  CHECK(early.run(true).exit == Exit::failed);  // nobody had passed it
}

TEST_CASE("killed at every append past a point of no return, no host is switched twice or taken back") {
  for (int kill = 1; kill < 40; ++kill) {
    Past w(4);
    auto life = w.run(false, kill);
    for (int again = 0; again < 5 && life.killed; ++again) life = w.run(true);
    INFO("killed after append " << kill << " " << life.error);
    CHECK(life.exit == Exit::done);
    CHECK(w.running("2.0") == 4);
    for (const auto& [name, host] : w.hosts->hosts()) {
      int moves = 0;
      for (const auto& [op, times] : host->switches) moves += times;
      CHECK(moves == 1);
    }
  }
}

TEST_CASE("what runs where, by the ledger") {
  World w(6);
  w.hosts->host("web-005").faults.unreachable = true;
  REQUIRE(w.run(false).exit == Exit::unreachable);
  auto live = live_versions(w.memory.entries);
  CHECK(live.at("storefront").at("2.0").size() == 5);
  CHECK(live.at("storefront").at("1.0") == std::set<std::string>{"web-005"});
  LedgerEntry back;
  back.body = {{"kind", "rollback.host"}, {"unit", "storefront"}, {"host", "web-001"}, {"after", "1.0-0123456789ab"}};
  auto entries = w.memory.entries;
  entries.push_back(back);
  CHECK(live_versions(entries).at("storefront").at("1.0") == std::set<std::string>{"web-001", "web-005"});
}

TEST_CASE("completed elsewhere: the same manifest, for long enough, whatever came after") {
  World w(3);
  auto asked = [&](Millis at_least) { return not_completed(w.memory.entries, "staging", "storefront", w.release.digest, at_least, w.clock.wall()); };
  CHECK(asked(Millis(0)) == "this very release of storefront was not completed on fleet 'staging' yet");
  REQUIRE(w.run(false).exit == Exit::done);
  CHECK_FALSE(asked(Millis(0)));
  CHECK(asked(Millis(3600000)).value_or("") == "this very release of storefront ran on fleet 'staging' for 0ms, and 1h are asked for");
  w.clock.advance(Millis(7200000));
  CHECK_FALSE(asked(Millis(3600000)));
  LedgerEntry back;
  back.body = {{"kind", "rollback.started"}, {"unit", "storefront"}, {"time", format_utc(w.clock.wall())}};
  w.memory.entries.push_back(back);
  w.clock.advance(Millis(7200000));
  CHECK_FALSE(asked(Millis(7200000)));
  CHECK(asked(Millis(7200001)));
  CHECK(not_completed(w.memory.entries, "staging", "storefront", sha256("another"), Millis(0), w.clock.wall()));
}
