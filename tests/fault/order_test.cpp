// In which order things become durable (INVARIANTS, "Activation on a host"; promises 1, 2, 3, 5, 10, 12): every operation of a host,
// call by call, on a file system that flushes nothing by itself.
#include <fmt/format.h>

#include "core/base/process.hpp"
#include "manifests/host/deadman.hpp"
#include "manifests/host/release_folder.hpp"
#include "tests/fault/power_scene.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/flush_order.hpp"
#include "tests/support/local_run.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

bool skipped() {
  if (step_trace_works()) return false;
  WARN("skipped: this container does not let it trace");
  return true;
}

// Locks, logs and what is only there to save time may be lost.
bool matters_on_a_host(const std::string& path) {
  auto name = path.substr(path.rfind('/') + 1);
  return name != "lock" && name != "halt.lock" && name != "step" && path.find("/logs/") == path.npos && path.find("/services/") == path.npos;
}

// A record that is about to be written tells of what is so by now, and an intent of what is not so yet.
std::string wrong_record(const CallStop& stop, const Script& script, ActivationHost& h) {
  if (!stop.before || stop.call != "pwrite64" || !stop.file(0).ends_with("/journal")) return "";
  auto line = stop.text(1);
  auto says = [&](const char* kind) { return line.find(fmt::format("\"kind\":\"{}\"", kind)) != line.npos; };
  auto on = read_current(h.unit()).release;
  if (says("INTENT") && on != script.from) return "INTENT is written when it has switched";
  if ((says("ACTIVATED") || says("CONFIRMED")) && on != script.to) return "it is written that it has switched, and it has not";
  return "";
}

}  // namespace

TEST_CASE("what a host relies on is durable before: files before names, the intent and the way back before the switch, all of it before it is told", "[order]") {
  if (skipped()) return;
  for (auto scene : kScenes) {
    if (scene == Scene::revert) continue;  // done by another program, below
    ActivationHost h;
    auto script = prepare(scene, h);
    FlushOrder order(h.dir.path(), matters_on_a_host);
    auto session = step_trace({RIPCORD_BUILD_DIR "/ripcord-host", "serve", "--root", h.dir.path()}, script.input, FlushOrder::calls(), Millis(60000),
                              [&](const CallStop& stop) {
                                order.see(stop);
                                CHECK(wrong_record(stop, script, h) == "");
                              });
    if (auto pending = read_pending(h.unit())) disarm(h.host, *pending);
    INFO(test::to_text(scene));
    CHECK(session.exit == 0);
    CHECK(standing(scene, script, h) == goal(scene));
    for (const auto& wrong : order.wrong()) FAIL_CHECK(wrong);
    CHECK(order.told > 0);
    CHECK(order.flushes > 2);
    CHECK(order.journal_writes > 0);
    CHECK((order.moves > 0) == (scene != Scene::prune && scene != Scene::steer));
  }
}

TEST_CASE("the dead-man goes back in the same order, to the old release and to nothing", "[order]") {
  if (skipped()) return;
  for (bool first : {false, true}) {
    ActivationHost h;
    std::optional<ReleaseId> from;
    if (!first) from = h.deploy(still("1.0"));
    auto to = h.stage(still("1.1")).release;
    activate(h.host, h.forward("cut", from, to, 700));
    disarm(h.host, *read_pending(h.unit()));
    h.wait_for([&] { return h.state("cut").deadline_left_ms == 0; }, Millis(3000));
    FlushOrder order(h.dir.path(), matters_on_a_host);
    auto traced = step_trace({RIPCORD_BUILD_DIR "/ripcord-host", "recover", "--root", h.dir.path()}, "", FlushOrder::calls(), Millis(60000),
                             [&](const CallStop& stop) { order.see(stop); });
    INFO(traced.output);
    CHECK(h.state("cut").phase == OpPhase::reverted);
    for (const auto& wrong : order.wrong()) FAIL_CHECK(wrong);
    CHECK(order.moves == 1);
    CHECK(order.journal_writes >= 2);
  }
}

TEST_CASE("a rollback without the ledger: its intent is durable before anything leaves for a host", "[order]") {
  if (skipped()) return;
  LocalRun fleet(2, 2);
  for (const char* version : {"1.0", "2.0"}) {
    fleet.write_unit(version);
    std::vector<std::string> words{"apply", fmt::format("app-{}/", version), "-y"};
    if (version[0] == '2') words.insert(words.end(), {"--unproven", "1.0", "-m", "test"});
    auto run = fleet.ripcord(words);
    INFO(run.output);
    REQUIRE(run.exit == 0);
  }
  auto ledger = fleet.folder() + "/.ripcord/ledger.db";
  put(ledger, "not a database");
  auto command = fleet.command({"rollback", "app", "-y", "-m", "test"});
  REQUIRE(::chdir(fleet.folder().c_str()) == 0);
  int intents = 0;
  FlushOrder order(fleet.folder(), [](const std::string& path) { return path.ends_with(".jsonl"); });
  auto traced = step_trace(command.argv, "", FlushOrder::calls(), Millis(60000), [&](const CallStop& stop) {
    order.see(stop);
    intents += stop.before && stop.call == "write" && stop.file(0).ends_with(".jsonl");
  }, *command.env);
  REQUIRE(::chdir("/") == 0);
  INFO(traced.output);
  CHECK(fleet.all_run("1.0"));
  for (const auto& wrong : order.wrong()) FAIL_CHECK(wrong);
  CHECK(intents > 0);
  CHECK(order.told > 0);
  CHECK(order.flushes > 0);
}
