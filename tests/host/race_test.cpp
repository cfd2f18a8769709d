// A confirm that arrives at the deadline: host and controller never disagree (promises 4, 6).
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <random>
#include <thread>

#include "core/base/process.hpp"
#include "manifests/host/deadman.hpp"
#include "manifests/host/lock.hpp"
#include "manifests/host/revert.hpp"
#include "tests/host/activation_fixture.hpp"
#include "tests/support/campaign.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

struct Racer {
  ActivationHost h;
  ReleaseId old, next;
  int confirmed = 0, reverted = 0, tight_confirmed = 0, tight_reverted = 0, no_race = 0;
  std::int64_t within_ms = 160;
  std::int64_t lead_ms = 0;  // how long before the deadline a confirm has to leave to meet it: found out as we go
  std::vector<std::string> wrong;

  Racer() : old(h.deploy(still("1.0"))), next(h.stage(still("1.1")).release) {}

  // False: this machine was so busy that the deadline had come before the confirm could be sent; the next one has more time.
  bool round(int n, int offset_ms) {
    auto op = "race-" + std::to_string(n);
    if (no_race > 0) op += "-" + std::to_string(no_race);
    activate(h.host, h.forward(op, old, next, within_ms + lead_ms));
    auto wait = h.state(op).deadline_left_ms - lead_ms + offset_ms;
    const bool races = wait > 0;
    if (races) ::usleep(static_cast<useconds_t>(wait) * 1000);
    OpPhase told = OpPhase::none;
    try {
      told = h.confirm_op(op).phase;
    } catch (const HostFailure& e) {
      if (e.code() != "busy") wrong.push_back(op + ": " + e.what());
    }
    bool ended = h.wait_for([&] { return h.history().find(op)->terminal(); }, Millis(15000));
    auto known = h.state(op).phase;
    int ends = 0;
    for (const auto& r : Journal(h.unit()).records())
      ends += get_string_or(r.body, "op", "") == op && (r.kind == "CONFIRMED" || r.kind == "REVERTED" || r.kind == "NEEDS_OPERATOR" || r.kind == "FAILED_UNCHANGED");
    bool kept = known == OpPhase::confirmed;
    if (!ended || ends != 1) wrong.push_back(op + ": " + std::to_string(ends) + " terminal records");
    if ((told == OpPhase::confirmed) != kept) wrong.push_back(op + ": told " + std::string(to_text(told)) + ", is " + std::string(to_text(known)));
    if (h.current() != "releases/" + (kept ? next : old).folder()) wrong.push_back(op + ": current is " + h.current());
    if (kept) activate(h.host, h.back("back-" + op, next, old));
    if (!races) {
      ++no_race;
      within_ms = std::min<std::int64_t>(within_ms * 2, 10000);
      return false;
    }
    const bool tight = offset_ms >= -20 && offset_ms <= 20;
    if (tight) lead_ms = std::clamp<std::int64_t>(lead_ms + (kept ? -2 : 2), 0, 1000);
    confirmed += kept, reverted += known == OpPhase::reverted;
    tight_confirmed += tight && kept, tight_reverted += tight && known == OpPhase::reverted;
    return true;
  }
};

}  // namespace

TEST_CASE("a confirm past the deadline is refused, also where nobody was left to go back, and makes the host go back", "[confirm]") {
  ActivationHost h;
  auto old = h.deploy(still("1.0"));
  auto next = h.stage(still("1.1")).release;
  activate(h.host, h.forward("late", old, next, 400));
  disarm(h.host, *read_pending(h.unit()));
  REQUIRE(h.wait_for([&] { return h.state("late").deadline_left_ms == 0; }, Millis(5000)));
  CHECK(h.current() == "releases/" + next.folder());
  CHECK(h.confirm_op("late").phase == OpPhase::reverted);
  CHECK(h.current() == "releases/" + old.folder());
  for (const auto& r : Journal(h.unit()).records()) CHECK_FALSE((r.kind == "CONFIRMED" && get_string(r.body, "op") == "late"));
}

TEST_CASE("a host that somebody moved after its switch is not confirmed", "[confirm]") {
  ActivationHost h;
  auto old = h.deploy(still("1.0"));
  auto next = h.stage(still("1.1")).release;
  activate(h.host, h.forward("moved", old, next));
  h.point_current(old);
  CHECK(refusal([&] { h.confirm_op("moved"); }).code == "conflict");
  CHECK(h.state("moved").phase == OpPhase::activated);
  disarm(h.host, *read_pending(h.unit()));
}

TEST_CASE("who goes back when the deadline comes looks at the verdict once more, under the lock: what was confirmed meanwhile stays", "[confirm]") {
  ActivationHost h;
  auto old = h.deploy(still("1.0"));
  auto next = h.stage(still("1.1")).release;
  activate(h.host, h.forward("won", old, next));
  REQUIRE(h.confirm_op("won").phase == OpPhase::confirmed);
  {
    UnitLock lock(h.host, h.unit(), "dead-man of won");
    CHECK(revert(h.host, h.unit(), lock, "won", "not confirmed by its deadline").phase == OpPhase::confirmed);
  }
  CHECK(h.current() == "releases/" + next.folder());
  for (const auto& r : Journal(h.unit()).records()) CHECK_FALSE((r.kind == "REVERTED" && get_string(r.body, "op") == "won"));
}

TEST_CASE("a confirm within 100 ms of the deadline, on either side: one verdict, and both sides know it", "[race]") {
  const bool whole = long_campaign();
  const int rounds = whole ? 2000 : 16, workers = 4;
  std::vector<std::unique_ptr<Racer>> racers;
  for (int i = 0; i < workers; ++i) racers.push_back(std::make_unique<Racer>());
  std::atomic<int> next{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < workers; ++i)
    threads.emplace_back([&, i, r = racers[static_cast<std::size_t>(i)].get()] {
      std::mt19937 random(static_cast<unsigned>(7 + i));
      for (int n; (n = next++) < rounds;) {
        // Mostly where it is tight; a few where the outcome is sure, so that both are known to happen.
        int offset = n % 8 == 0 ? -100 : n % 8 == 1 ? 100 : std::uniform_int_distribution<int>(-20, 20)(random);
        while (!r->round(n, offset)) {
        }
      }
    });
  for (auto& t : threads) t.join();
  int confirmed = 0, reverted = 0, tight_confirmed = 0, tight_reverted = 0, no_race = 0;
  for (const auto& r : racers) {
    for (const auto& w : r->wrong) FAIL_CHECK(w);
    confirmed += r->confirmed, reverted += r->reverted;
    tight_confirmed += r->tight_confirmed, tight_reverted += r->tight_reverted, no_race += r->no_race;
  }
  auto line = "races at the deadline: " + std::to_string(rounds) + " rounds, " + std::to_string(confirmed) + " confirmed, " +
              std::to_string(reverted) + " went back; within 20 ms of the deadline " + std::to_string(tight_confirmed) + " confirmed, " +
              std::to_string(tight_reverted) + " went back; " + std::to_string(no_race) + " more came too late to race";
  INFO(line);
  CHECK(confirmed + reverted == rounds);
  CHECK(confirmed > 0);  // a class that was never hit proves nothing
  CHECK(reverted > 0);
  if (whole) {  // both ends of the race are run, and neither is a rare accident
    CHECK(tight_confirmed >= rounds / 20);
    CHECK(tight_reverted >= rounds / 20);
  }
  total(line);
}
