// Who goes where when the cord is pulled, and pulling it over simulated hosts: silent ones, ledgers that hang, hosts that somebody
// else moves at the same time.
#include "plans/rollback/rollback.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <condition_variable>
#include <filesystem>
#include <mutex>

#include "core/base/files.hpp"
#include "plans/hosts/readiness.hpp"
#include "plans/ledger/spool.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/memory_ledger.hpp"
#include "tests/support/sim_fleet.hpp"
#include "tests/support/temp_dir.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

const WallTime kNoon = parse_utc("2026-11-20T12:00:00.000Z");
const ReleaseId kOne{"1.0", sha256("m1"), sha256("t1")}, kTwo{"1.1", sha256("m2"), sha256("t2")}, kThree{"1.2", sha256("m3"), sha256("t3")};

OpState op(const std::string& rollout, OpPhase phase, std::optional<ReleaseId> from, std::optional<ReleaseId> to, std::int64_t epoch = 1, bool forward = true) {
  OpState s;
  s.op = rollout + "-op", s.rollout = rollout, s.phase = phase, s.from = std::move(from), s.to = std::move(to), s.epoch = epoch, s.forward = forward;
  return s;
}

struct Looked {
  std::vector<Host> hosts;
  std::vector<HostLook> looks;
  Looked() { hosts.reserve(100); }
  Observation& add(std::optional<ReleaseId> running, std::optional<OpState> last) {
    hosts.push_back({});
    hosts.back().name = fmt::format("h{}", hosts.size());
    HostLook l;
    l.host = &hosts.back();
    l.look.emplace();
    auto& o = l.look->unit;
    o.running = running;
    o.current = running ? Observation::Current::release : Observation::Current::none;
    o.last_op = last;
    if (last && last->forward) o.last_forward = last;
    o.releases = {kOne, kTwo, kThree};
    looks.push_back(std::move(l));
    return looks.back().look->unit;
  }
};

using Result = RollbackLine::Result;

// A fleet on 1.1, put there by rollout r-1, and everything that a cord works with, in virtual time.
struct World {
  ManualClock clock{kNoon};
  MemoryLedger memory{clock};
  TempDir dir;
  Loop loop;
  Fleet fleet;
  std::vector<std::string> names;
  std::unique_ptr<SimFleet> hosts;
  ReleaseStore store{dir / "store"};
  std::map<std::string, Elapsed> switched;
  Elapsed begun = clock.elapsed();

  explicit World(int n) {
    for (int i = 1; i <= n; ++i) names.push_back(fmt::format("h{:02}", i));
    hosts = std::make_unique<SimFleet>(clock, names);
    for (const auto& name : names) {
      Host h;
      h.name = name;
      fleet.hosts.push_back(h);
      auto& sim = hosts->host(name);
      sim.running = kTwo;
      sim.staged = {kOne.folder(), kTwo.folder(), kThree.folder()};
      auto forward = op("r-1", OpPhase::confirmed, kOne, kTwo, 4);
      sim.ops["r-1-op"] = forward;
      sim.last_op = sim.last_forward = "r-1-op";
      sim.epoch = 4, sim.holder = "someone";
    }
  }
  std::vector<const Host*> all() const {
    std::vector<const Host*> out;
    for (const auto& h : fleet.hosts) out.push_back(&h);
    return out;
  }
  std::string spool() const { return dir / "spool"; }

  // Virtual time goes on until it is done.
  void run(Task<> task, std::function<void()> each = {}, std::string* error = nullptr) {
    bool over = false;
    spawn(loop, std::move(task), [&](std::exception_ptr e) {
      over = true;
      try {
        if (e) std::rethrow_exception(e);
      } catch (const Error& failed) {
        if (error) *error = failed.what();
      }
    });
    begun = clock.elapsed();
    while (!over) {
      if (each) each();
      if (loop.stopped()) loop.restart();
      if (loop.poll_one() > 0) continue;
      if (!clock.advance_to_next()) ::usleep(1000);  // a thread of the ledger's may still be at it
      hosts->pass_time();
    }
  }

  std::optional<RollbackResult> pull(LedgerNearby& ledger, RollbackOptions options = {}, std::function<void()> each = {}, std::string* error = nullptr) {
    std::optional<RollbackResult> result;
    options.who = "ann";
    RollbackPlace place{loop, clock, *hosts, *hosts, fleet, ledger, store, spool()};
    std::function<void(const RollbackLine&)> heard = [&](const RollbackLine& line) { switched.try_emplace(line.host, clock.elapsed()); };
    auto task = [](RollbackPlace at, std::vector<const Host*> h, RollbackOptions o, std::function<void(const RollbackLine&)> f,
                   std::optional<RollbackResult>* to) -> Task<> {
      UnitRef unit{"web", "/srv"};
      *to = co_await run_rollback(std::move(at), std::move(h), std::move(unit), std::move(o), std::move(f));
    };
    run(task(place, all(), options, heard, &result), each, error);
    return result;
  }
  int running(const ReleaseId& release) {
    int n = 0;
    for (const auto& [name, h] : hosts->hosts()) n += h->running == release;
    return n;
  }
};

// The ledger knows the rollout that the hosts name.
void note_rollout(World& w, Ledger& ledger) {
  auto append = [](Ledger& l, std::vector<json::object> bodies) -> Task<> { co_await l.append(std::move(bodies)); };
  std::vector<json::object> started;
  started.push_back({{"kind", "rollout.started"}, {"rollout", "r-1"}, {"unit", "web"}});
  run_to_end(w.loop, append(ledger, std::move(started)));
}

}  // namespace

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

TEST_CASE("one silent host does not hold the cord up, and is brought back when it speaks", "[cord]") {
  World w(6);
  w.hosts->host("h04").faults.latency_ms = 20000;
  Ledger ledger(w.loop, w.clock, w.memory.open(), "ann", "desk", Ledger::Writing::inline_);
  LedgerNearby none(w.loop, w.clock, {}, "web", "ann", "desk");
  auto result = w.pull(none);
  REQUIRE(result);
  CHECK(result->exit == Exit::done);
  CHECK(w.running(kOne) == 6);
  for (const auto& name : w.names)
    if (name != "h04") CHECK(w.switched.at(name) - w.begun < Millis(6000));
  CHECK(w.switched.at("h04") - w.begun > Millis(20000));
}

TEST_CASE("with the ledger's word that the rollout is the newest, a silent host is given a second", "[cord]") {
  World w(6);
  w.hosts->host("h04").faults.latency_ms = 20000;
  Ledger ledger(w.loop, w.clock, w.memory.open(), "ann", "desk", Ledger::Writing::inline_);
  note_rollout(w, ledger);
  LedgerNearby nearby(ledger, "web");
  auto result = w.pull(nearby);
  REQUIRE(result);
  CHECK(result->ledger_written);
  CHECK(w.switched.at("h01") - w.begun < Millis(1500));
  CHECK(w.memory.entries.back().body.at("kind") == "rollout.ended");
  CHECK(w.running(kOne) == 6);
  for (const auto& [name, h] : w.hosts->hosts()) CHECK(h->epoch > 4);
}

TEST_CASE("hosts that have answered go while others still shake hands; not when one of them lacks what it goes to", "[cord]") {
  for (bool lacks : {false, true}) {
    World w(40);
    for (int i = 1; i <= 40; ++i) w.hosts->host(w.names[static_cast<std::size_t>(i - 1)]).faults.latency_ms = 100 * i;  // h40 after 4 s
    Ledger ledger(w.loop, w.clock, w.memory.open(), "ann", "desk", Ledger::Writing::inline_);
    note_rollout(w, ledger);
    LedgerNearby nearby(ledger, "web");
    RollbackOptions options;
    if (lacks) options.to_version = "7.7";
    std::string error;
    auto result = w.pull(nearby, options, {}, &error);
    if (lacks) {  // said before anything is touched
      CHECK(error.find("do not hold web@7.7, and it cannot be brought to them") != error.npos);
      CHECK(w.running(kTwo) == 40);
      for (const auto& [name, h] : w.hosts->hosts()) CHECK(h->epoch == 4);
      continue;
    }
    REQUIRE(result);
    CHECK(w.switched.at("h01") - w.begun < Millis(1000));
    CHECK(result->exit == Exit::done);
    CHECK(w.running(kOne) == 40);
  }
}

TEST_CASE("a host that somebody moves between the look and the fence goes where it was to go", "[cord]") {
  World w(4);
  auto& moved = w.hosts->host("h03");
  moved.running = kOne;  // the rollout that runs elsewhere has not come to it yet
  moved.faults.latency_ms = 400;
  moved.ops.clear();
  moved.ops["older-op"] = op("r-0", OpPhase::confirmed, kThree, kOne, 2);
  moved.last_op = moved.last_forward = "older-op";
  bool done = false;
  LedgerNearby none(w.loop, w.clock, {}, "web", "ann", "desk");
  auto result = w.pull(none, {}, [&] {
    if (done || w.clock.elapsed() - w.begun < Millis(600)) return;
    done = true;  // its look was at 400 ms, its fence comes at 800
    moved.ops["r-1-op"] = op("r-1", OpPhase::activated, kOne, kTwo, 4);
    moved.last_op = moved.last_forward = "r-1-op";
    moved.running = kTwo;
  });
  REQUIRE(result);
  CHECK(done);
  CHECK(result->exit == Exit::done);
  CHECK(moved.running == kOne);
  CHECK(moved.epoch >= 5);
  CHECK(w.running(kOne) == 4);
}

TEST_CASE("a ledger that hangs costs a second; what was done is spooled, and merged once", "[cord]") {
  World w(3);
  std::mutex mutex;
  std::condition_variable free;
  bool let_go = false;
  auto hangs = [&]() -> std::unique_ptr<LedgerStore> {
    std::unique_lock lock(mutex);
    free.wait(lock, [&] { return let_go; });
    throw Error("it was never there");
  };
  {
    LedgerNearby hung(w.loop, w.clock, hangs, "web", "ann", "desk");
    auto result = w.pull(hung);
    REQUIRE(result);
    CHECK(result->exit == Exit::done);
    CHECK_FALSE(result->ledger_written);
    CHECK(hung.trouble() == "it did not answer in time");
    CHECK(w.switched.at("h01") - w.begun < Millis(1500));
  }
  {
    std::lock_guard lock(mutex);
    let_go = true;
    free.notify_all();
  }
  ::usleep(20000);
  Ledger ledger(w.loop, w.clock, w.memory.open(), "ann", "desk", Ledger::Writing::inline_);
  auto merge = [](Ledger& l, std::string folder, std::size_t* n) -> Task<> { *n = co_await merge_spool(l, std::move(folder)); };
  std::string file;
  for (const auto& e : std::filesystem::directory_iterator(w.spool())) file = e.path().string();
  auto text = read_file(file);
  std::size_t merged = 0;
  if (w.loop.stopped()) w.loop.restart();
  run_to_end(w.loop, merge(ledger, w.spool(), &merged));
  CHECK(merged >= 5);  // started, three hosts, ended, the rollout closed
  CHECK_FALSE(exists(file));
  // The same file again, with a line that cannot be read: nothing twice, and what cannot be read is kept.
  write_file_durable(file, text + "not json\n", 0600);
  w.loop.restart();
  run_to_end(w.loop, merge(ledger, w.spool(), &merged));
  CHECK(merged == 0);
  CHECK(exists(file + ".damaged"));
}

TEST_CASE("with a limit only those are switched, and all are fenced; an unreachable host owes it", "[cord]") {
  World w(4);
  w.hosts->host("h02").faults.unreachable = true;
  LedgerNearby none(w.loop, w.clock, {}, "web", "ann", "desk");
  RollbackOptions options;
  options.only = std::set<std::string>{"h01", "h02"};
  auto result = w.pull(none, options);
  REQUIRE(result);
  CHECK(result->exit == Exit::unreachable);
  CHECK(result->owed == std::vector<std::string>{"h02"});
  CHECK(w.running(kOne) == 1);
  for (const auto& name : {"h01", "h03", "h04"}) CHECK(w.hosts->host(name).epoch > 4);
}

TEST_CASE("what a cord fenced stays fenced against a rollout that was resumed a few times and has touched nobody yet", "[cord]") {
  World w(3);
  LedgerNearby none(w.loop, w.clock, {}, "web", "ann", "desk");
  REQUIRE(w.pull(none));
  ActivateRequest forward;
  forward.op = "op-late", forward.rollout = "r-2", forward.from = kOne, forward.to = kTwo;
  forward.epoch = 4 + 50, forward.holder = "somebody", forward.confirm_within_ms = 1000;
  auto activate = [](HostPort& port, ActivateRequest request) -> Task<> {
    std::function<void(std::string)> nobody;
    (void)co_await port.activate(std::move(request), Millis(5000), std::move(nobody));
  };
  std::string refused;
  w.run(activate(w.hosts->port("h03"), forward), {}, &refused);
  CHECK(refused.find("epoch 1000004 of ") != refused.npos);
  CHECK(w.running(kOne) == 3);
}

TEST_CASE("a host that is back and still drained is said, is no 0, and pulling again puts it back in service", "[cord][drained]") {
  World w(3);
  w.hosts->host("h02").faults.undrain_back_fails = 1;
  LedgerNearby none(w.loop, w.clock, {}, "web", "ann", "desk");
  auto result = w.pull(none);
  REQUIRE(result);
  CHECK(result->exit == Exit::mixed);
  CHECK(w.running(kOne) == 3);
  for (const auto& line : result->lines) {
    CHECK(line.result == Result::returned);
    CHECK(line.detail == (line.host == "h02" ? "not back in service: undrain: the balancer says no" : ""));
  }
  result = w.pull(none);
  REQUIRE(result);
  CHECK(result->exit == Exit::done);
  for (const auto& line : result->lines) CHECK(line.result == (line.host == "h02" ? Result::returned : Result::unchanged));
  CHECK_FALSE(w.hosts->host("h02").drained);
}

TEST_CASE("a host that is on its old release and does not run well there is no host that returned", "[cord]") {
  World w(3);
  w.hosts->host("h02").faults.way_back_broken = true;
  LedgerNearby none(w.loop, w.clock, {}, "web", "ann", "desk");
  auto result = w.pull(none);
  REQUIRE(result);
  CHECK(result->exit == Exit::mixed);
  for (const auto& line : result->lines) CHECK(line.result == (line.host == "h02" ? Result::failed : Result::returned));
}

TEST_CASE("no more hosts of a failure domain are out of service at once than the plan allows", "[cord]") {
  World w(9);
  for (std::size_t i = 0; i < 9; ++i) w.fleet.hosts[i].labels["rack"] = i < 3 ? "a" : i < 6 ? "b" : "c";
  for (const auto& [name, h] : w.hosts->hosts()) h->faults.latency_ms = 50;
  LedgerNearby none(w.loop, w.clock, {}, "web", "ann", "desk");
  RollbackOptions options;
  options.domain_label = "rack";
  options.max_unavailable = 1;
  auto result = w.pull(none, options);
  REQUIRE(result);
  CHECK(w.running(kOne) == 9);
  std::map<std::int64_t, int> at;  // three racks, one host of each at a time
  for (const auto& [name, when] : w.switched) ++at[when.us / 10000];
  for (const auto& [when, n] : at) CHECK(n <= 3);
  CHECK(at.size() >= 3);
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
