// The engine, unchanged, over simulated hosts in virtual time: what each kind of host makes of a rollout, and what a killed and
// resumed controller makes of it.
#include "plans/engine.hpp"

#include <fmt/format.h>

#include "plans/history.hpp"
#include "plans/rollback.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/memory_ledger.hpp"
#include "tests/support/sim_fleet.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

const WallTime kNoon = parse_utc("2026-11-20T12:00:00.000Z");  // a Friday

struct NoPacks : PackSource {
  Task<Pack> pack(std::vector<Digest>) override { co_return Pack{}; }
};

struct Recorder : RolloutObserver {
  std::vector<std::string> kinds;
  void on_entry(const LedgerEntry& entry, const RolloutState&) override { kinds.push_back(std::string(entry.body.at("kind").as_string())); }
};

// One world: clock, hosts and ledger outlive the controllers that come and go.
struct World {
  ManualClock clock{kNoon};
  MemoryLedger memory{clock};
  std::vector<std::string> names;
  std::unique_ptr<SimFleet> hosts;
  Fleet fleet;
  ReleaseOnHand release;
  RolloutSpec spec;
  int most_unconfirmed = 0;

  explicit World(int n, int stages = 3) {
    for (int i = 1; i <= n; ++i) names.push_back(fmt::format("web-{:03}", i));
    hosts = std::make_unique<SimFleet>(clock, names);
    release.sealed.bytes = "manifest of 2.0";
    release.digest = sha256(release.sealed.bytes);
    ReleaseId old{"1.0", sha256("old"), sha256("old tree")}, next{"2.0", release.digest, sha256("tree of " + release.digest.hex())};
    for (const auto& name : names) {
      Host h;
      h.name = name;
      fleet.hosts.push_back(h);
      hosts->host(name).running = old;
      hosts->host(name).staged.insert(old.folder());
    }
    spec.id = "r-test";
    spec.unit = "storefront";
    spec.version = "2.0";
    spec.root = "/srv";
    spec.manifest = release.digest;
    spec.confirm_within = Millis(60000);
    spec.max_unreachable = std::max(1, n / 20);
    for (int s = 0; s < stages; ++s) {
      StageSpec stage;
      stage.name = fmt::format("stage-{}", s);
      stage.max_parallel = 4;
      stage.bake = Millis(2000);
      spec.stages.push_back(stage);
    }
    for (int i = 0; i < n; ++i) {
      HostPlan h;
      h.name = names[static_cast<std::size_t>(i)];
      h.stage = i == 0 ? 0 : i < 4 && stages > 2 ? 1 : stages - 1;
      h.from = old;
      h.to = next;
      spec.hosts.push_back(h);
    }
  }

  // One controller's life: runs until it ends or `appends` entries have been written, when it is killed between two instructions.
  struct Life {
    std::optional<Exit> exit;
    std::string error;
    bool killed = false;
    std::vector<std::string> kinds;
  };
  Life run(bool resume, int kill_after_appends = -1, std::function<void(Engine&)> during = {}, bool no_wait = false) {
    Life life;
    int appends = 0;
    bool dead = false;
    memory.on_append = [&](const LedgerEntry&) { dead = dead || (kill_after_appends >= 0 && ++appends > kill_after_appends); };
    {
      Loop loop;
      NoPacks packs;
      Recorder recorder;
      Ledger ledger(loop, clock, memory.open(), "alice", "laptop", Ledger::Writing::inline_);
      EngineOptions options;
      options.holder = fmt::format("holder-{}", memory.entries.size());
      options.no_wait = no_wait;
      options.take_over = resume;
      Engine engine(loop, clock, ledger, *hosts, packs, fleet, release, recorder, options);
      bool over = false;
      auto done = [&](std::exception_ptr e) {
        over = true;
        try {
          if (e) std::rethrow_exception(e);
        } catch (const Error& error) {
          life.error = error.what();
          life.exit = error.exit();
        }
      };
      auto task = [](Engine& e, World& world, bool again, Life& mine) -> Task<> {
        if (again) {
          auto state = fold_rollout(world.memory.entries, world.spec.id);
          mine.exit = co_await e.resume(std::move(*state), "again");
        } else {
          RolloutSpec copy = world.spec;
          mine.exit = co_await e.start(std::move(copy), 0);
        }
      };
      spawn(loop, task(engine, *this, resume, life), done);
      for (int steps = 0; !over && !dead && steps < 200000; ++steps) {
        if (during) during(engine);
        if (loop.stopped()) loop.restart();
        if (loop.poll_one() > 0) {
          most_unconfirmed = std::max(most_unconfirmed, hosts->activated_unconfirmed());
          continue;
        }
        if (!clock.advance_to_next()) break;
        hosts->pass_time();
      }
      life.killed = dead && !over;
      clock.drop_timers();
      abandon_waiters();
      life.kinds = recorder.kinds;
      memory.on_append = {};
    }
    return life;
  }

  RolloutState state() { return *fold_rollout(memory.entries, spec.id); }
  int running(const std::string& version) {
    int n = 0;
    for (const auto& [name, h] : hosts->hosts()) n += h->running && h->running->version == version;
    return n;
  }
  void check_honest() {
    auto s = state();
    for (std::size_t i = 0; i < s.hosts().size(); ++i) {
      const auto& host = hosts->host(spec.hosts[i].name);
      INFO(host.name << " is " << to_text(s.hosts()[i].phase));
      if (s.hosts()[i].phase == HostPhase::confirmed) {
        CHECK(host.running->version == "2.0");
        CHECK(host.ops.at(s.hosts()[i].op).phase == OpPhase::confirmed);
      }
      if (s.hosts()[i].phase == HostPhase::returned) CHECK(host.running->version == "1.0");
      for (const auto& [op, times] : host.switches) CHECK(times <= 1);
    }
  }
};

}  // namespace

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

// Random worlds from a seed: faults on hosts, kills at random appends, a rip cord from elsewhere. Whatever happens, nothing is
// claimed that is not so, nothing is switched twice by one operation, and the blast radius holds.
TEST_CASE("seeded worlds keep the invariants") {
  const char* replay = std::getenv("RIPCORD_SEED");  // RIPCORD_SEED=25 replays one
  const int first = replay ? std::atoi(replay) : 1;
  const int last = replay ? first : std::getenv("RIPCORD_LONG") ? 20000 : 400;
  int ended_done = 0, ended_back = 0, ended_owed = 0, paused = 0, kills = 0;
  for (int seed = first; seed <= last; ++seed) {
    std::mt19937 random(static_cast<unsigned>(seed));
    auto chance = [&](int percent) { return static_cast<int>(random() % 100) < percent; };
    World w(3 + static_cast<int>(random() % 18), 1 + static_cast<int>(random() % 3));
    w.spec.max_failures = 1 + static_cast<int>(random() % 3);
    w.spec.max_unreachable = static_cast<int>(random() % 4);
    int widest = 0;
    for (auto& s : w.spec.stages) {
      s.max_parallel = 1 + static_cast<int>(random() % 6);
      s.slow_start = chance(50);
      s.bake = Millis(chance(50) ? 0 : 3000);
      widest = std::max(widest, s.max_parallel);
    }
    for (const auto& name : w.names) {
      auto& f = w.hosts->host(name).faults;
      f.unreachable = chance(4);
      f.unhealthy = chance(5);
      f.stage_refuses = chance(3);
      f.lose_activate_reply = chance(10);
      f.lose_confirm_reply = chance(10);
      f.dies_after_switch = chance(3);
      f.unhealthy_later = chance(3);
      f.latency_ms = 1 + static_cast<int>(random() % 400);
    }
    INFO("seed " << seed);
    auto life = w.run(false, chance(60) ? 1 + static_cast<int>(random() % 60) : -1);
    for (int again = 0; again < 8 && life.killed; ++again) {
      ++kills;
      life = w.run(true, chance(40) ? 1 + static_cast<int>(random() % 40) : -1);
    }
    if (replay)
      for (const auto& e : w.memory.entries) fmt::print(stderr, "{}\n", e.line.substr(0, 400));
    REQUIRE_FALSE(life.killed);
    CHECK(life.error == "");
    REQUIRE(life.exit);
    w.check_honest();
    CHECK(w.most_unconfirmed <= widest);
    auto s = w.state();
    if (*life.exit == Exit::done) {
      ++ended_done;
      CHECK(w.running("2.0") == static_cast<int>(w.names.size()));
    } else if (*life.exit == Exit::failed) {
      ++ended_back;
      CHECK(w.running("1.0") == static_cast<int>(w.names.size()));
    } else if (*life.exit == Exit::unreachable) {
      ++ended_owed;
      CHECK_FALSE(w.memory.entries.back().body.at("owed").as_array().empty());
    } else {
      ++paused;
      CHECK((*life.exit == Exit::waiting && s.paused));
    }
  }
  if (replay) return;
  // A class that was never hit proves nothing.
  CHECK(ended_done > 0);
  CHECK(ended_back > 0);
  CHECK(ended_owed > 0);
  CHECK(paused > 0);
  CHECK(kills > 20);
}
