#include "tests/plans/world.hpp"

#include "tests/support/campaign.hpp"

using namespace ripcord;
using namespace ripcord::test;

// Random worlds from a seed: faults on hosts, kills at random appends, a rip cord from elsewhere. Whatever happens, nothing is
// claimed that is not so, nothing is switched twice by one operation, and the blast radius holds.
TEST_CASE("seeded worlds keep the invariants") {
  const char* replay = std::getenv("RIPCORD_SEED");  // RIPCORD_SEED=25 replays one
  const int first = replay ? std::atoi(replay) : 1;
  const int last = replay ? first : long_campaign() ? 20000 : 400;
  int ended_done = 0, ended_back = 0, ended_owed = 0, ended_mixed = 0, paused = 0, kills = 0, walks = 0;
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
      if (chance(20)) w.give(name, chance(70) ? std::optional<std::string>("0.9") : std::nullopt);
      f.unreachable = chance(4);
      f.way_back_broken = chance(3);
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
    for (const auto& [from, pair] : s.pairs()) walks += pair.proven_at.has_value();
    if (*life.exit == Exit::done) {
      ++ended_done;
      CHECK(w.running("2.0") == static_cast<int>(w.names.size()));
    } else if (*life.exit == Exit::failed) {
      ++ended_back;
      CHECK(w.running("2.0") == 0);
    } else if (*life.exit == Exit::mixed) {
      ++ended_mixed;
      CHECK(s.count(HostPhase::stuck) > 0);
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
  CHECK(ended_mixed > 0);
  CHECK(walks > 100);
  CHECK(paused > 0);
  CHECK(kills > 20);
}
