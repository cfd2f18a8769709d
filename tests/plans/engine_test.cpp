// The engine, unchanged, over simulated hosts in virtual time: what each kind of host makes of a rollout, and what a killed and
// resumed controller makes of it.
#include "tests/plans/world.hpp"

using namespace ripcord;
using namespace ripcord::test;

TEST_CASE("a healthy fleet goes through its stages and ends completed") {
  World w(12);
  auto life = w.run(false);
  CHECK(life.error == "");
  CHECK(life.exit == Exit::done);
  CHECK(w.running("2.0") == 12);
  CHECK(w.state().ending == Ending::completed);
  CHECK(w.most_unconfirmed <= 4);
  std::vector<std::string> stages;
  for (const auto& k : life.kinds)
    if (k.starts_with("stage.")) stages.push_back(k);
  CHECK(stages == std::vector<std::string>{"stage.started", "stage.baking", "stage.passed", "stage.started", "stage.baking",
                                           "stage.passed", "stage.started", "stage.baking", "stage.passed"});
  w.check_honest();
}

TEST_CASE("an unhealthy canary stops the rollout and goes back") {
  World w(12);
  w.hosts->host("web-001").faults.unhealthy = true;
  auto life = w.run(false);
  CHECK(life.exit == Exit::failed);
  CHECK(w.running("1.0") == 12);
  CHECK(w.state().ending == Ending::rolled_back);
  CHECK(w.state().count(HostPhase::returned) == 1);
  CHECK(w.state().count(HostPhase::waiting) == 11);
  w.check_honest();
}

TEST_CASE("a failure in a later stage takes back every host that was activated") {
  World w(12);
  w.hosts->host("web-009").faults.unhealthy = true;
  auto life = w.run(false);
  CHECK(life.exit == Exit::failed);
  CHECK(w.running("1.0") == 12);
  CHECK(w.state().rollback_why.find("web-009") != std::string::npos);
  w.check_honest();
}

TEST_CASE("a host that turns unhealthy while baking fails the rollout, after two rounds and not after one") {
  World w(4);
  w.hosts->host("web-001").faults.unhealthy_later = true;
  auto life = w.run(false);
  CHECK(life.exit == Exit::failed);
  CHECK(w.running("1.0") == 4);
  CHECK(std::count(life.kinds.begin(), life.kinds.end(), "host.unhealthy") == 1);
}

TEST_CASE("an unreachable host within the budget is owed, named, and does not stop the others") {
  World w(20);
  w.hosts->host("web-010").faults.unreachable = true;
  auto life = w.run(false);
  CHECK(life.exit == Exit::unreachable);
  CHECK(w.running("2.0") == 19);
  const auto& ended = w.memory.entries.back().body;
  CHECK(ended.at("owed").as_array().size() == 1);
  CHECK(ended.at("owed").as_array()[0].as_string() == "web-010");
}

// Another host key at every moment: that host alone is left as it is, named and counted as those that do not answer, and the end says 9.
TEST_CASE("a host whose key changes in the middle does not stop the others, whenever it is, and the exit code tells of it", "[trust]") {
  for (int at = 0; at < 8; ++at) {
    INFO("at request " << at);
    World w(20);
    w.hosts->host("web-015").faults.key_changes_at = at;
    auto life = w.run(false);
    INFO(life.error);
    const auto s = w.state();
    w.check_honest();
    CHECK(w.most_unconfirmed <= 4);
    if (s.hosts()[14].phase == HostPhase::confirmed) continue;  // it was through already
    CHECK(life.exit == Exit::integrity);
    CHECK(s.ending == Ending::completed);
    CHECK(s.failures == 0);
    CHECK(s.owed == std::vector<std::string>{"web-015"});
    CHECK(s.hosts()[14].reason.find("the host key of 'web-015' changed") != std::string::npos);
    CHECK(w.running("2.0") >= 19);
  }
}

TEST_CASE("a host that refuses the login is not asked again and again, whenever it begins to: servers penalise the address", "[trust]") {
  for (int at = 0; at < 8; ++at) {
    INFO("at request " << at);
    World w(20);
    auto& host = w.hosts->host("web-015");
    host.faults.refuses_logins_at = at;
    auto life = w.run(false);
    w.check_honest();
    CHECK(w.most_unconfirmed <= 4);
    CHECK(host.refused <= kHealthMisses);  // one in each step, and a bake has two looks before it believes it
    if (w.state().hosts()[14].phase == HostPhase::confirmed) continue;
    CHECK(life.exit == Exit::unreachable);
    CHECK(w.state().ending == Ending::completed);
    CHECK(w.state().owed == std::vector<std::string>{"web-015"});
  }
}

TEST_CASE("more hosts with another key than the budget pause the rollout with exit 9; believed again and retried, it ends well", "[trust]") {
  World w(20);
  for (const char* name : {"web-010", "web-011"}) w.hosts->host(name).faults.key_changes_at = 0;
  auto life = w.run(false);
  CHECK(life.exit == Exit::integrity);
  CHECK(w.state().paused);
  CHECK(w.running("2.0") < 20);
  for (const char* name : {"web-010", "web-011"}) w.hosts->host(name).faults.key_changes_at = -1;
  w.say({{"kind", "rollout.retried"}, {"hosts", json::array{"web-010", "web-011"}}});
  CHECK(w.run(true).exit == Exit::done);
  CHECK(w.running("2.0") == 20);
}

TEST_CASE("taken up by another process, a host with another key is unknown once its dead-man switch must have fired", "[trust]") {
  int seen = 0;
  for (int kill = 25; kill < 60 && seen < 3; ++kill) {
    World w(20);
    if (!w.run(false, kill).killed) break;
    std::string open;
    for (const auto& name : w.names)
      if (w.hosts->host(name).open > 0) open = name;
    if (open.empty()) continue;
    ++seen;
    INFO(open << ", killed after " << kill << " entries");
    w.hosts->host(open).faults.key_changes_at = 0;
    const auto before = w.clock.elapsed();
    CHECK(w.run(true).exit == Exit::integrity);
    const auto s = w.state();
    CHECK(s.ending == Ending::completed);
    CHECK(s.hosts()[static_cast<std::size_t>(s.index(open))].phase == HostPhase::unknown);
    CHECK((w.clock.elapsed() - before) >= w.spec.confirm_within);
    CHECK(w.running("1.0") == 1);
    w.check_honest();
  }
  CHECK(seen == 3);
}

TEST_CASE("more unreachable hosts than the budget pause the rollout") {
  World w(20);
  for (const char* name : {"web-010", "web-011"}) w.hosts->host(name).faults.unreachable = true;
  auto life = w.run(false);
  CHECK(life.exit == Exit::waiting);
  CHECK(w.state().paused);
  CHECK(w.state().pause_why.find("2 hosts unreachable, and max_unreachable is 1") != std::string::npos);
}

TEST_CASE("lost answers are settled by asking the journal, never by activating again") {
  World w(12);
  w.hosts->host("web-001").faults.lose_activate_reply = true;
  w.hosts->host("web-002").faults.lose_confirm_reply = true;
  auto life = w.run(false);
  CHECK(life.exit == Exit::done);
  CHECK(w.running("2.0") == 12);
  w.check_honest();
}

TEST_CASE("a host cut off after its switch is unknown, goes back by itself, and is never called confirmed") {
  World w(20);
  w.hosts->host("web-015").faults.dies_after_switch = true;
  auto life = w.run(false);
  CHECK(life.exit == Exit::unreachable);
  CHECK(w.hosts->host("web-015").running->version == "1.0");
  CHECK(w.state().hosts()[14].phase == HostPhase::unknown);
  w.check_honest();
}

TEST_CASE("a host that died in its activation is owed once its deadline has passed; it does not hold up the hosts behind it") {
  World w(20, 2);
  w.hosts->host("web-002").faults.dies_after_switch = true;
  auto life = w.run(false);
  INFO(life.error);
  CHECK(life.exit == Exit::unreachable);
  CHECK(w.state().ending == Ending::completed);
  CHECK(w.running("2.0") == 19);
  CHECK(w.most_unconfirmed <= 4);
}

TEST_CASE("a drain that fails is a failure of that host, with its output, and is not tried three times") {
  World w(12);
  w.hosts->host("web-001").faults.drain_fails = true;
  auto life = w.run(false);
  CHECK(life.exit == Exit::failed);
  CHECK(w.state().hosts()[0].attempts == 1);
  CHECK(w.state().hosts()[0].reason == "drain failed: the balancer says no");
  CHECK(w.running("1.0") == 12);
}

TEST_CASE("a host that cannot be undrained pauses the rollout before another is drained; resume tries it again") {
  World w(12);
  w.spec.unproven = {"1.0"};
  w.hosts->host("web-001").faults.undrain_fails = 2;
  auto life = w.run(false);
  CHECK(life.exit == Exit::waiting);
  CHECK(w.state().pause_why == "web-001 runs 2.0 and is not back in service: undrain: the balancer says no; `resume` tries again");
  CHECK(w.running("2.0") == 1);
  life = w.run(true);
  CHECK(life.exit == Exit::waiting);
  CHECK(w.running("2.0") == 1);
  life = w.run(true);
  CHECK(life.exit == Exit::done);
  CHECK(w.running("2.0") == 12);
  w.check_honest();
}

TEST_CASE("a host that goes back and cannot be undrained is named, in the ledger and at the end, which is not 3", "[drained]") {
  World w(12);
  w.spec.unproven = {"1.0"};
  w.hosts->host("web-001").faults.undrain_back_fails = 1;
  w.hosts->host("web-003").faults.unhealthy = true;
  auto life = w.run(false);
  CHECK(life.exit == Exit::mixed);
  CHECK(w.running("1.0") == 12);
  CHECK(w.state().ending == Ending::rolled_back);
  CHECK(w.state().hosts()[0].drained == "undrain: the balancer says no");
  CHECK(get_string(w.memory.entries.back().body, "why").ends_with("; web-001 is back and not in service: undrain: the balancer says no"));
  w.check_honest();
}

TEST_CASE("a host that fails alone and cannot be undrained pauses the rollout before another is drained; resume tries it again", "[drained]") {
  World w(12);
  w.spec.unproven = {"1.0"};
  w.spec.max_failures = 3;
  w.hosts->host("web-003").faults.undrain_back_fails = 2;
  w.hosts->host("web-003").faults.unhealthy = true;
  auto life = w.run(false);
  CHECK(life.exit == Exit::waiting);
  CHECK(w.state().pause_why == "web-003 runs 1.0 and is not back in service: undrain: the balancer says no; `resume` tries again");
  const int before = w.running("2.0");
  CHECK(w.run(true).exit == Exit::waiting);
  CHECK(w.running("2.0") == before);
  CHECK(w.run(true).exit == Exit::unreachable);  // it is owed
  CHECK(w.running("2.0") == 11);
  CHECK_FALSE(w.hosts->host("web-003").drained);
  w.check_honest();
}

TEST_CASE("a host without space fails without having been touched") {
  World w(12);
  w.hosts->host("web-001").faults.stage_refuses = true;
  auto life = w.run(false);
  CHECK(life.exit == Exit::failed);
  CHECK(w.hosts->host("web-001").switches.empty());
}

TEST_CASE("killed at every ledger append and resumed, a rollout ends as without, no host activated twice") {
  World plain(6);
  plain.run(false);
  const int appends = static_cast<int>(plain.memory.entries.size());
  REQUIRE(appends > 20);
  int killed = 0;
  for (int at = 2; at < appends; ++at) {  // 0 is the ledger's own first entry
    World w(6);
    auto life = w.run(false, at - 1);
    killed += life.killed;
    if (life.killed) {
      INFO("killed after append " << at);
      for (int again = 0; again < 5 && !(life.exit && *life.exit == Exit::done); ++again) life = w.run(true);
      CHECK(life.error == "");
      CHECK(life.exit == Exit::done);
    }
    CHECK(w.running("2.0") == 6);
    CHECK(w.most_unconfirmed <= 4);
    w.check_honest();
  }
  CHECK(killed >= appends - 4);
}

TEST_CASE("a signal pauses cleanly: steps in flight end, nothing new starts, resume goes on") {
  World w(12);
  int polls = 0;
  auto life = w.run(false, -1, [&](Engine& engine) {
    if (++polls == 150) engine.stop("SIGINT");
  });
  CHECK(life.exit == Exit::waiting);
  CHECK(w.hosts->activated_unconfirmed() == 0);
  CHECK(w.state().paused);
  CHECK(w.state().pause_by == "signal");
  auto again = w.run(true);
  CHECK(again.exit == Exit::done);
  CHECK(w.running("2.0") == 12);
}

TEST_CASE("outside the window nothing is activated, and rollback does not care") {
  World w(4);
  w.spec.window = Window{{1, 2, 3, 4, 5}, 13 * 60, 14 * 60, "UTC"};  // opens an hour from now
  auto life = w.run(false, -1, {}, true);
  CHECK(life.exit == Exit::waiting);
  CHECK(w.running("1.0") == 4);
  CHECK(w.state().count(HostPhase::staged) == 1);
  auto later = w.run(true);  // waits for one o'clock
  CHECK(later.exit == Exit::done);
  CHECK(w.clock.wall() >= parse_utc("2026-11-20T13:00:00.000Z"));
}

TEST_CASE("the slow start doubles and never passes max_parallel") {
  World w(30, 2);
  w.spec.stages[1].max_parallel = 8;
  auto life = w.run(false);
  CHECK(life.exit == Exit::done);
  CHECK(w.most_unconfirmed <= 8);
  CHECK(w.most_unconfirmed >= 6);
}

TEST_CASE("max_unavailable holds for each value of its label") {
  World w(12, 2);
  w.spec.stages[1].slow_start = false;
  w.spec.stages[1].max_parallel = 12;
  w.spec.stages[1].max_unavailable = 1;
  for (std::size_t i = 0; i < w.spec.hosts.size(); ++i) w.spec.hosts[i].domain = i % 2 ? "rack-a" : "rack-b";
  auto life = w.run(false);
  CHECK(life.exit == Exit::done);
  CHECK(w.most_unconfirmed == 2);
}

TEST_CASE("an approval holds the stage until a person gives it") {
  World w(4, 2);
  w.spec.stages[1].approval = true;
  auto life = w.run(false, -1, {}, true);
  CHECK(life.exit == Exit::waiting);
  CHECK(w.running("2.0") == 1);
  Loop loop;
  Ledger ledger(loop, w.clock, w.memory.open(), "bob", "desk", Ledger::Writing::inline_);
  std::vector<json::object> approval;
  approval.push_back({{"kind", "rollout.approved"}, {"rollout", w.spec.id}, {"unit", "storefront"}, {"stage", 1}, {"by", "person"}});
  auto append = [](Ledger& l, std::vector<json::object> bodies) -> Task<> { co_await l.append(std::move(bodies)); };
  run_to_end(loop, append(ledger, approval));
  CHECK(w.run(true).exit == Exit::done);
  CHECK(w.running("2.0") == 4);
}

TEST_CASE("a host that says nothing while its stage is staged does not hold up the others, as long as it could be spared") {
  for (bool spared : {true, false}) {
    World w(9, 1);
    w.spec.stages[0].bake = Millis(0);
    w.spec.max_unreachable = spared ? 1 : 0;
    w.hosts->host("web-004").faults.latency_ms = 20000;  // frozen; it comes back just before it would have been given up
    auto life = w.run(false);
    CHECK(life.error == "");
    CHECK(life.exit == Exit::done);
    CHECK(w.running("2.0") == 9);
    WallTime staged{0}, last{0};
    for (const auto& e : w.memory.entries) {
      auto kind = get_string(e.body, "kind"), host = get_string_or(e.body, "host", "");
      if (kind == "host.staged" && host == "web-004" && staged.ms == 0) staged = parse_utc(get_string(e.body, "time"));
      if (kind == "host.confirmed" && host != "web-004") last = std::max(last, parse_utc(get_string(e.body, "time")));
    }
    INFO("the others were through at " << last.ms - kNoon.ms << " ms, the silent one was staged at " << staged.ms - kNoon.ms);
    CHECK((last < staged) == spared);
    CHECK((last - kNoon < Millis(10000)) == spared);
    CHECK(life.waited == std::vector<std::string>{"staging in stage-0; no answer yet from web-004"});
    w.check_honest();
  }
}

TEST_CASE("a host that did not answer when it was planned holds up nobody a second time") {
  World w(9, 1);
  w.spec.stages[0].bake = Millis(0);
  w.spec.max_unreachable = 1;
  w.spec.hosts[3].away = true;
  w.hosts->host("web-004").faults.latency_ms = 9000;
  auto life = w.run(false);
  CHECK(life.exit == Exit::done);
  for (const auto& e : w.memory.entries)
    if (get_string(e.body, "kind") == "host.confirmed" && get_string(e.body, "host") != "web-004")
      CHECK(parse_utc(get_string(e.body, "time")) - kNoon < Millis(2000));
  w.check_honest();
}
