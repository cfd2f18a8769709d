// Pulling the cord over simulated hosts: silent ones, ledgers that hang, hosts that somebody else moves at the same time.
#include "plans/rollback/rollback.hpp"

#include <condition_variable>
#include <filesystem>
#include <mutex>

#include "plans/ledger/spool.hpp"
#include "tests/plans/cord_world.hpp"

using namespace ripcord;
using namespace ripcord::test;
using namespace ripcord::test::cord;

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
