// What a rip cord works with: hosts as they were looked at, and a fleet of simulated ones in virtual time.
#pragma once
#include <fmt/format.h>
#include <unistd.h>

#include "core/base/files.hpp"
#include "plans/rollback/rollback.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/memory_ledger.hpp"
#include "tests/support/sim_fleet.hpp"
#include "tests/support/temp_dir.hpp"

namespace ripcord::test::cord {

inline const WallTime kNoon = parse_utc("2026-11-20T12:00:00.000Z");
inline const ReleaseId kOne{"1.0", sha256("m1"), sha256("t1")}, kTwo{"1.1", sha256("m2"), sha256("t2")}, kThree{"1.2", sha256("m3"), sha256("t3")};

inline OpState op(const std::string& rollout, OpPhase phase, std::optional<ReleaseId> from, std::optional<ReleaseId> to, std::int64_t epoch = 1, bool forward = true) {
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
inline void note_rollout(World& w, Ledger& ledger) {
  auto append = [](Ledger& l, std::vector<json::object> bodies) -> Task<> { co_await l.append(std::move(bodies)); };
  std::vector<json::object> started;
  started.push_back({{"kind", "rollout.started"}, {"rollout", "r-1"}, {"unit", "web"}});
  run_to_end(w.loop, append(ledger, std::move(started)));
}

}  // namespace ripcord::test::cord
