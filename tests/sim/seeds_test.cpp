// Ten thousand worlds on every run. One that breaks a promise prints its seed; RIPCORD_SEED=N replays it and prints its ledger.
#include <fmt/format.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "core/base/clock.hpp"
#include "tests/sim/sim_world.hpp"
#include "tests/support/campaign.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

constexpr int kWorkers = 2;

struct Shared {  // between the processes that share the seeds
  SimTotals totals[kWorkers];
  char broken[kWorkers][400];
  unsigned current[kWorkers];
};

void work(Shared& shared, int worker, unsigned first, unsigned last) {
  for (unsigned seed = first + static_cast<unsigned>(worker); seed <= last; seed += kWorkers) {
    shared.current[worker] = seed;
    SimWorld world(seed, shared.totals[worker]);
    auto broken = world.run();
    if (broken.empty()) continue;
    auto end = fmt::format_to_n(shared.broken[worker], sizeof shared.broken[worker] - 1, "seed {}: {}", seed, broken);
    *end.out = 0;
    return;
  }
}

}  // namespace

TEST_CASE("ten thousand worlds keep the invariants") {
  if (const char* one = ::getenv("RIPCORD_SEED")) {
    SimTotals totals;
    SimWorld world(static_cast<unsigned>(std::atoi(one)), totals);
    auto broken = world.run();
    world.print_ledger();
    INFO(broken);
    CHECK(broken.empty());
    return;
  }
  const char* wanted = ::getenv("RIPCORD_SEEDS");  // how many
  const unsigned first = long_campaign() ? static_cast<unsigned>(boot_now().us & 0xffffff) * 64 : 1;
  const unsigned last = first + static_cast<unsigned>(wanted ? std::atoi(wanted) : long_campaign() ? 200000 : 10000) - 1;
  auto begun = boot_now();
  auto* shared = static_cast<Shared*>(::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  REQUIRE(shared != MAP_FAILED);
  new (shared) Shared{};
  pid_t workers[kWorkers];
  for (int w = 0; w < kWorkers; ++w) {
    workers[w] = ::fork();
    REQUIRE(workers[w] >= 0);
    if (workers[w] == 0) {
      work(*shared, w, first, last);
      ::_exit(0);
    }
  }
  SimTotals sum;
  for (int w = 0; w < kWorkers; ++w) {
    int status = 0;
    ::waitpid(workers[w], &status, 0);
    INFO("replay with RIPCORD_SEED; the newest seed of this worker was " << shared->current[w]);
    CHECK(std::string(shared->broken[w]) == "");
    CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
    sum.worlds += shared->totals[w].worlds;
    sum.events += shared->totals[w].events;
    sum.entries += shared->totals[w].entries;
    for (std::size_t c = 0; c < sum.hits.size(); ++c) sum.hits[c] += shared->totals[w].hits[c];
  }
  std::string line = fmt::format("simulated fleet: {} worlds from seed {}, {} events, {} entries, {} ms", sum.worlds, first, sum.events, sum.entries, (boot_now() - begun).count());
  for (int c = 0; c < SimTotals::kClasses; ++c) line += fmt::format("; {} {}", sum.hits[static_cast<std::size_t>(c)], SimTotals::name(c));
  fmt::print("{}\n", line);
  total(line);
  const bool many = last - first >= 999;
  for (int c = 0; c < SimTotals::kClasses && many; ++c) {
    INFO("never hit: " << SimTotals::name(c));
    CHECK(sum.hits[static_cast<std::size_t>(c)] > 0);
  }
  ::munmap(shared, sizeof(Shared));
}
