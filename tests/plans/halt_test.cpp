// A halt as the engine hears it.
#include "plans/ledger/halt.hpp"

#include "tests/plans/world.hpp"
#include "tests/support/campaign.hpp"
#include "tests/support/temp_dir.hpp"

using namespace ripcord;
using namespace ripcord::test;

// However a halt is heard, at whatever moment: two seconds after it returned nothing new is activated, and it goes on by resume only.
TEST_CASE("halt at any moment, heard by file, ledger or hosts, with hosts that do not answer it", "[halt]") {
  TempDir dir;
  const Halt halt{"h1", "bob", "desk", "smoke", kNoon.ms};
  int in_the_middle = 0;
  for (int way = 0; way < 3; ++way)
    for (int at = 20; at < 1400; at += 110) {
      World w(50, 2);
      w.spec.fleet = "test";
      w.spec.max_unreachable = 20;
      w.spec.stages[1].max_parallel = 8;
      w.halt_file = way == 0 ? fmt::format("{}/halt-{}", dir.path(), at) : "";
      auto forward = [&] {
        int n = 0;
        for (const auto& [name, h] : w.hosts->hosts()) n += static_cast<int>(h->switches.size());
        return n;
      };
      auto tell = [&](json::object entry) {
        Loop loop;
        Ledger ledger(loop, w.clock, w.memory.open(), "bob", "desk", Ledger::Writing::inline_);
        std::vector<json::object> bodies;
        bodies.push_back(std::move(entry));
        auto append = [](Ledger& l, std::vector<json::object> b) -> Task<> { co_await l.append(std::move(b)); };
        run_to_end(loop, append(ledger, std::move(bodies)));
      };
      int polls = 0, settled = -1;
      std::optional<Elapsed> halted_at;
      auto life = w.run(false, -1, [&](Engine&) {
        if (++polls == at) {
          halted_at = w.clock.elapsed();
          // A black-holed host does not hear it from us; whoever starts anything there can read the file or the ledger.
          int i = 0;
          for (const auto& [name, h] : w.hosts->hosts())
            if (way == 2 || ++i > 10) h->halted = halt;
          if (way == 0) write_halt_mark(w.halt_file, {halt, true});
          if (way == 1) tell(halted_entry(halt, "test"));
        }
        if (halted_at && settled < 0 && w.clock.elapsed() >= *halted_at + Millis(2000)) settled = forward();
      });
      INFO("way " << way << ", at " << at);
      if (!halted_at || w.state().ending != Ending::open) continue;
      if (forward() > 0) ++in_the_middle;
      CHECK(life.error == "");
      CHECK(life.exit == Exit::held);
      CHECK((settled < 0 || forward() == settled));
      CHECK(w.state().failures == 0);
      CHECK(w.hosts->activated_unconfirmed() == 0);
      if (way < 2) {
        auto refused = w.run(true);
        CHECK(refused.exit == Exit::held);
        CHECK(refused.error.find("fleet 'test' is halted by bob on desk since 2026-11-20T12:00:00.000Z: smoke") == 0);
      }
      for (const auto& [name, h] : w.hosts->hosts()) h->halted.reset();
      if (way == 0) write_halt_mark(w.halt_file, {halt, false});
      if (way == 1) tell(unhalted_entry(halt, "test", "over"));
      auto resumed = w.run(true);
      CHECK(resumed.error == "");
      CHECK(resumed.exit == Exit::done);
      CHECK(w.running("2.0") == 50);
      w.check_honest();
    }
  CHECK(in_the_middle > 12);
}

TEST_CASE("a halt that comes between a host's intent and its command is heard before the command leaves", "[halt]") {
  TempDir dir;
  World w(1, 1);
  w.spec.unproven = {"1.0"};
  w.halt_file = dir.path() + "/halt";
  bool halted = false;
  auto life = w.run(false, -1, [&](Engine&) {
    if (halted || w.memory.entries.empty() || get_string_or(w.memory.entries.back().body, "kind", "") != "host.intent") return;
    write_halt_mark(w.halt_file, {Halt{"h1", "bob", "desk", "smoke", kNoon.ms}, true});  // on this machine only: the host does not know yet
    halted = true;
  });
  CHECK(halted);
  CHECK(life.exit == Exit::held);
  for (const auto& [name, h] : w.hosts->hosts()) CHECK(h->switches.empty());
  CHECK(w.running("2.0") == 0);
}
