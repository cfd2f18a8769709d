// How a rollout grows with its fleet: four stages over simulated hosts, in virtual time. What is asserted is counted (events and entries for a
// host, memory), so that a busy machine does not fail it; the times are printed. RIPCORD_LONG goes to 100,000 hosts.
#include <fmt/format.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>


#include "core/base/clock.hpp"
#include "plans/rollout/engine.hpp"
#include "tests/support/campaign.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/memory_ledger.hpp"
#include "tests/support/sim_fleet.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

struct Grown {
  long hosts = 0, events = 0, entries = 0, line = 0, milliseconds = 0, mebibytes = 0;
  int exit = -1;
};

struct NoPacks : PackSource {
  Task<Pack> pack(std::vector<Digest>) override { co_return Pack{}; }
};
struct Nobody : RolloutObserver {
  void on_entry(const LedgerEntry&, const RolloutState&) override {}
};

Task<> go(Engine& engine, RolloutSpec spec, Grown& out) { out.exit = static_cast<int>(co_await engine.start(std::move(spec), 0)); }

Grown roll_out(int n) {
  Grown out;
  out.hosts = n;
  ManualClock clock(parse_utc("2026-11-20T12:00:00.000Z"));
  MemoryLedger memory(clock);
  memory.keep = 4096;
  memory.on_append = [&](const LedgerEntry& e) {
    ++out.entries;
    out.line = std::max(out.line, static_cast<long>(e.line.size()));
  };
  std::vector<std::string> names;
  for (int i = 0; i < n; ++i) names.push_back(fmt::format("web-{:06}", i));
  SimFleet hosts(clock, names);
  Fleet fleet;
  ReleaseOnHand release;
  release.sealed.bytes = "manifest";
  release.digest = sha256(release.sealed.bytes);
  RolloutSpec spec;
  spec.id = "r-curve";
  spec.fleet = fleet.name = "curve";
  spec.unit = "storefront";
  spec.version = "2.0";
  spec.root = "/srv";
  spec.manifest = release.digest;
  spec.confirm_within = Millis(60000);
  spec.max_unreachable = n / 20;
  spec.unproven = {"1.0"};
  for (int s = 0; s < 4; ++s) {  // one, one in each of three datacenters, one datacenter, everyone
    StageSpec stage;
    stage.name = fmt::format("s{}", s);
    stage.max_parallel = std::max(10, n / 100);
    stage.bake = Millis(2000);
    spec.stages.push_back(stage);
  }
  ReleaseId old{"1.0", sha256("old"), sha256("old tree")}, next{"2.0", release.digest, sha256("tree of " + release.digest.hex())};
  for (int i = 0; i < n; ++i) {
    HostPlan h;
    h.name = names[static_cast<std::size_t>(i)];
    h.datacenter = fmt::format("dc{}", i % 3);
    h.stage = i == 0 ? 0 : i < 4 ? 1 : i % 3 == 0 ? 2 : 3;
    h.from = old;
    h.to = next;
    spec.hosts.push_back(std::move(h));
    auto& host = hosts.host(names[static_cast<std::size_t>(i)]);
    host.running = old;
    host.staged.insert(old.folder());
    host.faults.latency_ms = 3 + i % 50;
  }
  {
    Loop loop;
    NoPacks packs;
    Nobody nobody;
    Ledger ledger(loop, clock, memory.open(), "alice", "laptop", Ledger::Writing::inline_);
    EngineOptions options;
    Engine engine(loop, clock, ledger, hosts, packs, fleet, release, nobody, options);
    bool over = false;
    spawn(loop, go(engine, std::move(spec), out), [&](std::exception_ptr e) {
      over = true;
      if (e) std::rethrow_exception(e);
    });
    while (!over) {
      if (loop.stopped()) loop.restart();
      if (auto ran = loop.poll(); ran > 0) out.events += static_cast<long>(ran);
      else if (!clock.advance_to_next()) break;
      else hosts.pass_time();
    }
    clock.drop_timers();
    abandon_waiters();
  }
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  auto ms = [](const timeval& t) { return t.tv_sec * 1000 + t.tv_usec / 1000; };
  out.milliseconds = ms(usage.ru_utime) + ms(usage.ru_stime);  // of the processor: others may be busy on it
  out.mebibytes = usage.ru_maxrss / 1024;
  return out;
}

// In a process of its own: its peak of memory is its own too.
Grown grown(int n) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  pid_t pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    auto g = roll_out(n);
    [[maybe_unused]] auto written = ::write(ends[1], &g, sizeof g);
    ::_exit(0);
  }
  ::close(ends[1]);
  Grown g;
  REQUIRE(::read(ends[0], &g, sizeof g) == static_cast<ssize_t>(sizeof g));
  ::close(ends[0]);
  ::waitpid(pid, nullptr, 0);
  return g;
}

}  // namespace

TEST_CASE("a rollout costs in proportion to its fleet") {
  std::vector<int> sizes{500, 1000, 2000};
  if (long_campaign()) sizes = {1000, 3000, 10000, 30000, 100000};
  std::string curve = "hosts    cpu seconds ms/host   MiB   events/host   entries/host   longest entry\n";
  std::vector<Grown> all;
  for (int n : sizes) {
    auto g = grown(n);
    REQUIRE(g.exit == 0);
    curve += fmt::format("{:<10} {:>7.2f} {:>9.3f} {:>5} {:>13.1f} {:>14.2f} {:>12} KiB\n", g.hosts, static_cast<double>(g.milliseconds) / 1000,
                         static_cast<double>(g.milliseconds) / static_cast<double>(n), g.mebibytes, static_cast<double>(g.events) / n, static_cast<double>(g.entries) / n,
                         g.line / 1024);
    all.push_back(g);
  }
  fmt::print("{}", curve);
  total(curve);
  INFO(curve);
  for (const auto& g : all) {
    // staged, intent, confirmed for a host, and a few for the rollout
    CHECK(static_cast<double>(g.entries) <= 3.0 * static_cast<double>(g.hosts) + 40);
    CHECK(static_cast<double>(g.events) / static_cast<double>(g.hosts) <= 1.3 * static_cast<double>(all[0].events) / static_cast<double>(all[0].hosts));
    CHECK(g.line < (64 << 20));  // the longest line that a ledger takes
    CHECK(g.mebibytes < 1024);
  }
}
