// One change at a time, and one controller after another: what the second one finds and may do.
#include "plans/ledger/lease_keeper.hpp"
#include "plans/rollout/opening.hpp"
#include "tests/plans/world.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

struct Heard {
  std::optional<Exit> exit;
  std::string error;
};

// Another operator starts at this very moment. It must be refused at once: no virtual time passes here.
Heard second_start(World& w, RolloutSpec spec, std::int64_t seen = -1) {
  Loop loop;
  NoPacks packs;
  Recorder recorder;
  Ledger ledger(loop, w.clock, w.memory.open(), "bob", "desk", Ledger::Writing::inline_);
  EngineOptions options;
  options.holder = "bobs";
  options.seen = seen;
  Engine engine(loop, w.clock, ledger, *w.hosts, packs, w.fleet, w.release, recorder, options);
  Heard heard;
  auto task = [](Engine& e, RolloutSpec s, Heard& to) -> Task<> { to.exit = co_await e.start(std::move(s), 0); };
  try {
    run_to_end(loop, task(engine, std::move(spec), heard));
  } catch (const Error& e) {
    heard.error = e.what();
    heard.exit = e.exit();
  }
  return heard;
}

}  // namespace

TEST_CASE("the second operator is told who holds the unit, where, since when, why and for which rollout", "[lease]") {
  World w(12);
  w.spec.why = "new prices";
  Heard same, other;
  int polls = 0;
  auto life = w.run(false, -1, [&](Engine&) {
    if (++polls != 60) return;
    auto spec = w.spec;
    spec.id = "r-second";
    same = second_start(w, spec);
    spec.unit = "mailer";  // another unit, some of the same hosts
    spec.hosts.erase(spec.hosts.begin(), spec.hosts.begin() + 4);
    other = second_start(w, spec);
  });
  CHECK(same.exit == Exit::held);
  CHECK(same.error == "unit 'storefront' is held by  on  since 2026-11-20T12:00:00.000Z for rollout r-test (new prices)");
  CHECK(other.exit == Exit::held);
  CHECK(other.error == "host 'web-005' is in an open rollout of unit 'storefront': r-test of 2.0, started by alice on laptop since "
                       "2026-11-20T12:00:00.000Z: new prices");
  CHECK(life.exit == Exit::done);
  for (const auto& e : w.memory.entries) CHECK(get_string_or(e.body, "rollout", "") != "r-second");
}

TEST_CASE("a paused rollout blocks its unit and its hosts; what was planned before it began is stale after it", "[lease]") {
  World w(4);
  int polls = 0;
  w.run(false, -1, [&](Engine& engine) {
    if (++polls == 60) engine.stop("SIGINT");
  });
  auto spec = w.spec;
  spec.id = "r-second";
  auto open = second_start(w, spec);
  CHECK(open.exit == Exit::held);
  CHECK(open.error.starts_with("unit 'storefront' has an open rollout: r-test of 2.0, started by alice on laptop since "));
  CHECK(w.run(true).exit == Exit::done);
  auto stale = second_start(w, spec, 1);
  CHECK(stale.exit == Exit::held);
  CHECK(stale.error.starts_with("unit 'storefront' has changed since its hosts were looked at: rollout.started by alice on laptop at "));
}

TEST_CASE("what is appended at a place goes there or nowhere", "[lease]") {
  World w(1);
  Loop loop;
  Ledger ledger(loop, w.clock, w.memory.open(), "bob", "desk", Ledger::Writing::inline_);
  auto append = [](Ledger& l, std::int64_t size) -> Task<> {
    std::vector<json::object> bodies(2);
    bodies[0]["kind"] = bodies[1]["kind"] = "test";
    co_await l.append_at(size, std::move(bodies));
  };
  const auto size = static_cast<std::int64_t>(w.memory.entries.size());
  CHECK_THROWS_AS(run_to_end(loop, append(ledger, size - 1)), LedgerMoved);
  CHECK_THROWS_AS(run_to_end(loop, append(ledger, size + 1)), LedgerMoved);
  CHECK(static_cast<std::int64_t>(w.memory.entries.size()) == size);
  run_to_end(loop, append(ledger, size));
  CHECK(static_cast<std::int64_t>(w.memory.entries.size()) == size + 2);
}

TEST_CASE("hosts that went back while no controller was there count as no failure and are activated anew", "[resume]") {
  int went_back = 0;
  for (int at = 6; at < 60; ++at) {
    World w(8, 2);
    auto life = w.run(false, at);
    if (!life.killed) continue;
    w.clock.advance(Millis(90000));  // past every dead-man switch
    w.hosts->pass_time();
    for (const auto& [name, h] : w.hosts->hosts())
      for (const auto& [op, s] : h->ops) went_back += s.phase == OpPhase::reverted;
    auto resumed = w.run(true);
    INFO("killed after append " << at);
    CHECK(resumed.error == "");
    CHECK(resumed.exit == Exit::done);
    CHECK(w.running("2.0") == 8);
    CHECK(w.state().failures == 0);
    w.check_honest();
  }
  CHECK(went_back > 3);
}

TEST_CASE("a helper that died between its intent and the switch is not waited for: its host is asked to end it, and goes forward", "[resume]") {
  World w(8);
  for (const char* name : {"web-001", "web-006"}) w.hosts->host(name).faults.dies_before_switch = true;
  const auto begun = w.clock.elapsed();
  auto life = w.run(false);
  CHECK(life.error == "");
  CHECK(life.exit == Exit::done);
  CHECK(w.running("2.0") == 8);
  CHECK(w.state().failures == 0);
  CHECK(w.clock.elapsed() - begun < Millis(30000));  // T is 60 s
  for (const char* name : {"web-001", "web-006"}) {
    int ended = 0;
    for (const auto& [op, s] : w.hosts->host(name).ops) ended += s.phase == OpPhase::failed_unchanged;
    CHECK(ended == 1);
  }
  CHECK(w.state().hosts()[5].attempts == 2);  // the first host's are counted anew for each leg of its walk
  w.check_honest();
}

TEST_CASE("outcomes that are not known are asked for earliest deadline first", "[resume]") {
  World w(12, 1);
  w.spec.stages[0].max_parallel = 6;
  w.spec.stages[0].slow_start = false;
  for (int i = 0; i < 12; ++i) w.hosts->host(w.names[static_cast<std::size_t>(i)]).faults.latency_ms = 3 + 40 * (i % 5);
  std::size_t most = 0;
  for (int at = 10; at < 40; ++at) {
    World again(12, 1);
    again.spec = w.spec;
    for (int i = 0; i < 12; ++i) again.hosts->host(again.names[static_cast<std::size_t>(i)]).faults.latency_ms = 3 + 40 * (11 - i);
    again.run(false, at);
    auto state = again.state();
    DecideInput in;
    in.now = again.clock.wall();
    std::vector<std::int64_t> since;
    for (const auto& action : decide(state, in).actions)
      if (const auto* r = std::get_if<Resolve>(&action)) since.push_back(state.hosts()[static_cast<std::size_t>(r->host)].since_ms);
    CHECK(std::is_sorted(since.begin(), since.end()));
    most = std::max(most, since.size());
  }
  CHECK(most >= 3);
}

TEST_CASE("a controller stopped between its intent and its command does nothing when it goes on after a take-over", "[lease]") {
  // The intent is durable, the command has not left: the first controller stands still here.
  std::unique_ptr<World> found;
  std::string op, host;
  for (int at = 3; at < 30 && op.empty(); ++at) {
    found = std::make_unique<World>(3, 1);
    if (!found->run(false, at).killed) continue;
    auto state = found->state();
    for (std::size_t i = 0; i < state.hosts().size(); ++i)
      if (state.hosts()[i].phase == HostPhase::activating && found->hosts->host(found->spec.hosts[i].name).ops.empty())
        op = state.hosts()[i].op, host = found->spec.hosts[i].name;
  }
  REQUIRE_FALSE(op.empty());
  World& w = *found;
  const auto old_epoch = w.memory.leases.at("storefront").epoch;
  const auto old_holder = w.memory.leases.at("storefront").holder;
  CHECK(w.run(true).exit == Exit::done);
  // It goes on: the host refuses, because whoever took over had it fenced before asking what became of the operation.
  Loop loop;
  ActivateRequest late;
  late.op = "op-late";
  late.from = w.spec.hosts[0].to, late.to = w.spec.hosts[0].to;
  late.epoch = old_epoch, late.holder = old_holder;
  late.confirm_within_ms = 1000;
  bool fenced = false;
  auto send = [](World& world, std::string to, ActivateRequest request, bool& refused) -> Task<> {
    std::function<void(std::string)> nobody;
    try {
      co_await world.hosts->port(to).activate(std::move(request), Millis(1000), std::move(nobody));
    } catch (const HostRefusal& e) {
      refused = e.code() == "fenced";
    }
  };
  bool over = false;
  spawn(loop, send(w, host, late, fenced), [&](std::exception_ptr) { over = true; });
  while (!over) {
    loop.restart();
    if (loop.poll_one() == 0 && !w.clock.advance_to_next()) break;
  }
  CHECK(fenced);
  // And the take-over is on record.
  bool recorded = false;
  for (const auto& e : w.memory.entries) recorded = recorded || get_string_or(e.body, "kind", "") == "rollout.taken_over";
  CHECK(recorded);
}

TEST_CASE("who was taken over, or whose rollout somebody ended, says nothing more and ends as held, whatever came of the rollout", "[lease]") {
  for (const char* how : {"taken", "completed", "cord"}) {
    INFO(how);
    World w(8);
    std::size_t until = 0;
    auto life = w.run(false, -1, [&](Engine&) {
      bool in_step = false;
      for (const auto& e : w.memory.entries) in_step = get_string(e.body, "kind") == "host.intent";  // the last one
      if (until != 0 || !in_step || w.memory.entries.size() < 20) return;
      const bool cord = std::string(how) == "cord";
      auto epoch = w.memory.leases.at("storefront").epoch + 1;
      if (!cord) w.say({{"kind", "rollout.taken_over"}, {"epoch", epoch}, {"from_who", "alice"}, {"how", "--take-over"}});
      if (std::string(how) == "completed") w.say({{"kind", "rollout.ended"}, {"epoch", epoch}, {"outcome", "completed"}, {"exit", 0}});
      if (cord) w.say({{"kind", "rollout.ended"}, {"outcome", "rolled_back"}, {"exit", 3}, {"why", "the rip cord was pulled: INC-77"}});
      until = w.memory.entries.size();
    });
    REQUIRE(until > 0);
    CHECK(life.exit == Exit::held);
    CHECK(life.error.starts_with(std::string(how) == "cord" ? "fenced: bob on desk ended this rollout at 2026-11-20T12:00:"
                                                            : "fenced: bob on desk took this rollout over at 2026-11-20T12:00:"));
    if (std::string(how) == "cord") CHECK(life.error.find("Z: the rip cord was pulled: INC-77") != std::string::npos);
    CHECK(w.memory.entries.size() == until);
  }
}

TEST_CASE("what a fenced process wrote behind the end of its rollout changes nothing in it", "[lease]") {
  World w(4);
  w.run(false, 12);
  w.say({{"kind", "rollout.ended"}, {"outcome", "rolled_back"}, {"exit", 3}, {"returned", json::array{"web-001"}}});
  w.say({{"kind", "host.stuck"}, {"host", "web-001"}, {"reason", "the host's journal says reverting"}});
  CHECK(w.state().count(HostPhase::stuck) == 0);
  CHECK(w.state().ending == Ending::rolled_back);
}

TEST_CASE("a host that is on its way back is waited for: whoever took it back decides what that means", "[lease]") {
  SECTION("a rip cord of another machine: this rollout is fenced, and no host needs a person") {
    World w(8);
    w.hosts->host("web-003").faults.cord_in_step = true;
    auto life = w.run(false);
    CHECK(life.exit == Exit::held);
    CHECK(life.error.starts_with("fenced: web-003: epoch "));
    CHECK(w.state().count(HostPhase::stuck) == 0);
    CHECK(w.hosts->host("web-003").running->version == "1.0");
  }
  SECTION("its dead-man switch, as the confirm arrived: it failed to be confirmed, and all go back") {
    World w(8);
    w.hosts->host("web-003").faults.lapses_at_confirm = true;
    auto life = w.run(false);
    CHECK(life.exit == Exit::failed);
    CHECK(w.state().count(HostPhase::stuck) == 0);
    CHECK(w.running("1.0") == 8);
    w.check_honest();
  }
}

TEST_CASE("what waited in a spool is told with the time at which it happened", "[spool]") {
  World w(4);
  w.run(false, 12);
  const std::string then = "2026-11-20T11:30:00.000Z";  // by the clock of another machine
  w.say({{"kind", "rollout.ended"}, {"outcome", "rolled_back"}, {"exit", 3}, {"spooled_at", then}});
  CHECK(format_utc(w.state().ended) == then);
  CHECK(history(w.memory.entries, "", false).back().time == then);
}

TEST_CASE("a lease that could not be renewed is worth nothing five seconds before the ledger gives it away", "[lease]") {
  World w(1);
  Loop loop;
  Ledger ledger(loop, w.clock, w.memory.open(), "alice", "laptop", Ledger::Writing::inline_);
  LeaseKeeper keeper(w.clock, ledger, Millis(30000), Millis(10000));
  Lease wanted;
  wanted.scope = "storefront", wanted.holder = "alices", wanted.rollout = "r-test";
  keeper.acquire(std::move(wanted), 0, false);
  w.clock.advance(Millis(24000));
  CHECK(keeper.valid());
  w.clock.advance(Millis(1000));
  CHECK_FALSE(keeper.valid());
  run_to_end(loop, keeper.renew_if_due());  // nobody has taken it
  CHECK(keeper.valid());
}

TEST_CASE("a controller that stood still after its intent sends no command, although nobody has taken over", "[lease]") {
  World w(4);
  bool stood_still = false;
  auto life = w.run(false, -1, [&](Engine&) {
    if (stood_still) return;
    w.memory.on_append = [&](const LedgerEntry& e) {
      if (!stood_still && get_string(e.body, "kind") == "host.intent") stood_still = true, w.clock.advance(Millis(26000));
    };
  });
  REQUIRE(stood_still);
  CHECK(life.exit == Exit::held);
  CHECK(w.hosts->host("web-001").switches.empty());
  CHECK(w.run(true).exit == Exit::done);
}
