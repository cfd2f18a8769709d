// What networks do, between the real program and real sshds (promises 4, 5, 11, 16): connections forgotten in silence, black holes, half
// open and reset ones, single bytes, cuts, a flipped bit. A restart runs once, no operation is activated twice, nothing is claimed
// that is not so, and `resume` comes to the end. RIPCORD_LONG tries every moment, and the figures of real middle boxes.
#include <fmt/format.h>
#include <unistd.h>

#include <map>
#include <set>

#include "tests/support/catch.hpp"
#include "tests/support/slow_unit.hpp"
#include "tests/support/wired_fleet.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

using Mode = TcpProxy::Mode;

}  // namespace

namespace {

// The fault for each host from the moment on in which it has switched, so that the session that waits for its restart meets it.
ProcessId apply_under(WiredFleet& fleet, const std::string& version, const std::string& before, const std::vector<TcpProxy::Fault>& faults) {
  std::vector<int> then;
  for (int i = 1; i <= fleet.size(); ++i) then.push_back(fleet.count(i, "ACTIVATED"));
  auto id = fleet.start(apply_words(version, before), "apply.log");
  std::set<int> hit;
  REQUIRE(eventually([&] {
    for (int i = 1; i <= fleet.size(); ++i)
      if (fleet.count(i, "ACTIVATED") > then[static_cast<std::size_t>(i - 1)] && hit.insert(i).second) fleet.wire(i).set(faults[static_cast<std::size_t>(i - 1)]);
    return static_cast<int>(hit.size()) == fleet.size();
  }, Millis(60000)));
  return id;
}

bool answers(const FleetRun& fleet, const std::string& version) {
  for (int i = 1; i <= fleet.size(); ++i)
    if (fleet.answer(i) != version + "\n") return false;
  return true;
}

}  // namespace

TEST_CASE("idle connections are dropped in silence during a long restart and a bake: heartbeats prevent it, or it is noticed; one restart", "[network]") {
  const bool full = long_campaign();
  WiredFleet fleet({.hosts = 2}, full ? "" : "heartbeat: 150ms");
  fleet.write_plan(fmt::format("unit: web\nstages:\n  - {{name: all, hosts: rest, slow_start: false, bake: {}}}\nwindow: none\n", full ? "30s" : "1s"));
  write_slow(fleet, "1.0", full ? "20" : "1");
  // One looks at both directions, the other only at what the controller sends.
  const std::int64_t drop = full ? 3000 : 600;
  auto kept = apply_under(fleet, "1.0", "", {{.mode = Mode::idle_drop, .at = drop}, {.mode = Mode::idle_drop, .at = drop, .up = true}});
  REQUIRE(eventually([&] { return answers(fleet, "1.0"); }, Millis(60000)));
  const int cuts = fleet.wire(1).cuts() + fleet.wire(2).cuts();
  auto end = FleetRun::wait(kept);
  INFO(fleet.output("apply.log"));
  CHECK(end.exit == 0);
  CHECK(cuts == 0);  // the restart took longer than that
  CHECK(fleet.all_run("1.0"));
  for (int i = 1; i <= 2; ++i) {
    CHECK(starts(fleet, i, "1.0") == 1);
    CHECK(fleet.count(i, "ACTIVATED") == 1);
  }

  // A middle box that is quicker than the heartbeat.
  fleet.all({});
  fleet.settings(full ? "heartbeat: 5s" : "heartbeat: 300ms");
  if (!full) fleet.write_plan("unit: web\nstages:\n  - {name: all, hosts: rest, slow_start: false}\nwindow: none\n");
  write_slow(fleet, "1.1", full ? "20" : "0.8");
  const TcpProxy::Fault quicker{.mode = Mode::idle_drop, .at = full ? 2000 : 100};
  auto dropped = apply_under(fleet, "1.1", "1.0", {quicker, quicker});
  REQUIRE(eventually([&] { return fleet.wire(1).cuts() > 0 && fleet.wire(2).cuts() > 0; }, Millis(60000)));
  if (!full) fleet.all({});  // those that were dropped stay so; a busy machine may be slower than that over a key exchange
  end = FleetRun::wait(dropped, Millis(300000));
  INFO(fleet.output("apply.log"));
  CHECK(end.exit == 0);
  CHECK(fleet.all_run("1.1"));
  for (int i = 1; i <= 2; ++i) {
    CHECK(starts(fleet, i, "1.1") == 1);
    CHECK(fleet.count(i, "ACTIVATED") == 2);
  }
  total(fmt::format("idle drop after {} ms: a restart once, with heartbeats and without", drop));
}

TEST_CASE("a wire that is spoiled in the middle of a restart: no second restart, no failure counted, and the rollout comes to its end", "[network]") {
  struct Kind {
    const char* name;
    TcpProxy::Fault fault;
  };
  const std::vector<Kind> kinds{{"black hole", {.mode = Mode::black_hole}},
                                {"half open", {.mode = Mode::half_open}},
                                {"reset", {.mode = Mode::reset, .at = 40, .once = true}},
                                {"drip", {.mode = Mode::drip, .at = 1}},
                                {"cut", {.mode = Mode::cut, .at = 70, .once = true}},
                                {"flip on the way back", {.mode = Mode::flip, .at = 30, .once = true}}};
  const int hosts = static_cast<int>(kinds.size()) + 1;  // the last one's sshd is killed
  WiredFleet fleet({.hosts = hosts}, "heartbeat: 200ms, timeouts: {connect: 1s, handshake: 2s, auth: 2s}");
  write_slow(fleet, "1.0", "0.6");
  auto id = fleet.start(apply_words("1.0", ""), "apply.log");
  std::set<int> spoiled;
  int killed = 0;
  REQUIRE(eventually(
      [&] {
        for (int i = 1; i <= hosts; ++i) {
          if (spoiled.contains(i) || fleet.count(i, "ACTIVATED") == 0) continue;
          if (i == hosts) killed = kill_sshd(fleet, i);
          else fleet.wire(i).set(kinds[static_cast<std::size_t>(i - 1)].fault);
          spoiled.insert(i);
        }
        return static_cast<int>(spoiled.size()) == hosts;
      },
      Millis(30000)));
  ::usleep(1800000);  // the silence is noticed, and new connections find it as well
  std::vector<int> hits;
  for (int i = 1; i < hosts; ++i) hits.push_back(fleet.wire(i).cuts());
  hits.push_back(killed);
  fleet.all({});
  revive_sshd(fleet, hosts);
  auto end = FleetRun::wait(id);
  INFO(fleet.output("apply.log"));
  CHECK(end.exit == 0);
  CHECK(fleet.all_run("1.0"));
  for (int i = 1; i <= hosts; ++i) {
    INFO((i == hosts ? "sshd killed" : kinds[static_cast<std::size_t>(i - 1)].name));
    CHECK(hits[static_cast<std::size_t>(i - 1)] > 0);
    CHECK(starts(fleet, i, "1.0") == 1);
    CHECK(activated(fleet, i, "1.0") == 1);
    CHECK(fleet.count(i, "CONFIRMED") == 1);
  }
}

TEST_CASE("a bit that flips on its way is never believed, and named where it can be; the host is as it was", "[network]") {
  WiredFleet fleet({.hosts = 1}, "timeouts: {connect: 1s, handshake: 2s, auth: 2s}, heartbeat: 200ms");
  write_slow(fleet, "1.0", "0");
  auto first = fleet.ripcord(apply_words("1.0", ""));
  INFO(first.output);
  REQUIRE(first.exit == 0);
  auto before = fleet.snapshot(1);
  auto& wire = fleet.wire(1);
  auto up = wire.bytes(true), down = wire.bytes(false);
  REQUIRE(fleet.ripcord({"hosts"}).exit == 0);
  up = wire.bytes(true) - up, down = wire.bytes(false) - down;
  INFO("one look: " << up << " bytes up, " << down << " down");
  std::map<std::string, int> outcomes;
  auto flip = [&](bool way, std::int64_t at) {
    wire.set({.mode = Mode::flip, .at = at, .up = way, .once = true});
    auto hosts = fleet.command({"hosts", "-o", "json"});
    hosts.env->push_back("ASAN_OPTIONS=detect_leaks=0");  // libssh2 1.10 forgets a server's key whose signature was not right
    auto run = run_process(hosts, Millis(60000), 1 << 20);
    INFO("byte " << at << (way ? " up" : " down") << ": " << run.output);
    const bool hit = wire.cuts() > 0;
    wire.set({});
    CHECK_FALSE(run.timed_out);
    CHECK((run.exit == 0 || run.exit == 4 || run.exit == 9));
    std::string name = "no name";
    for (const char* known : {"corrupted", "closed", "silent", "dropped", "handshake_failed", "handshake_timeout", "auth_failed", "auth_timeout", "exec_refused", "host_key_unknown", "host_key_changed", "start_timeout"})
      if (run.output.find("\"name\":\"" + std::string(known) + "\"") != run.output.npos) name = known;
    if (run.exit != 0) CHECK((name != "no name" && name != "exec_refused"));
    ++outcomes[!hit ? "not reached" : run.exit == 0 ? "asked again, and well" : name];
  };
  const std::int64_t step = long_campaign() ? 23 : 0;
  for (bool way : {false, true}) {
    const auto bytes = way ? up : down;
    if (step > 0)
      for (std::int64_t at = 0; at < bytes; at += step) flip(way, at);
    else if (way) flip(way, bytes / 2);
    else for (std::int64_t at : {600, 1500, 3000}) flip(way, at);  // key exchange, login, channel, what the host says
  }
  std::string line = "flipped bits:";
  for (const auto& [name, n] : outcomes) line += fmt::format(" {} {};", n, name);
  total(line);
  INFO(line);
  CHECK(outcomes["corrupted"] > 1);
  CHECK(outcomes["handshake_failed"] > 0);
  CHECK(outcomes["closed"] > 0);        // sshd sees it and hangs up without a word
  CHECK(outcomes["auth_failed"] == 0);  // nobody refused anything
  CHECK(fleet.changed_since(1, before) == "");
  auto after = fleet.ripcord({"hosts"});
  CHECK(after.exit == 0);
  CHECK(fleet.all_run("1.0"));
}

namespace {

// A rollout of one host whose wire is spoiled after so many bytes of a connection, and what came of it in the end.
struct ByteSweep {
  WiredFleet fleet{{.hosts = 1}, "timeouts: {connect: 1s, handshake: 2s, auth: 2s}, heartbeat: 200ms"};
  int release = 1, runs = 0;
  std::map<std::string, int> outcomes;

  std::string now() const { return fmt::format("{}.0", release); }
  std::vector<std::string> next() {
    const auto before = now();
    ++release;
    write_slow(fleet, now(), "0");
    return apply_words(now(), before);
  }
  // early: from the first look at the host on; else from the moment on in which the release lies there and is about to be switched.
  void spoiled(TcpProxy::Fault fault, bool early) {
    fault.once = true;
    const int staged = fleet.count(1, "STAGED");
    if (early) fleet.wire(1).set(fault);
    auto id = fleet.start(next(), "apply.log");
    if (!early) {
      CHECK(eventually([&] { return fleet.count(1, "STAGED") > staged; }, Millis(20000)));
      fleet.wire(1).set(fault);
    }
    struct {
      std::string output;
      int exit;
    } run;
    run.exit = FleetRun::wait(id).exit;
    run.output = fleet.output("apply.log");
    std::remove((fleet.folder() + "/apply.log").c_str());
    const bool hit = fleet.wire(1).cuts() > 0;
    fleet.wire(1).set({});
    INFO("mode " << static_cast<int>(fault.mode) << " at byte " << fault.at << (fault.up ? " up" : " down") << ": " << run.output);
    ++runs;
    ++outcomes[!hit ? "not reached" : run.exit == 0 ? "finished all the same" : fmt::format("exit {}", run.exit)];
    if (run.exit == 0) CHECK(fleet.version(1) == now());
    if (run.exit == 3) CHECK(fleet.version(1) != now());
    std::string said;
    for (int again = 0; again < 5 && !ended(); ++again) {
      auto status = fleet.ripcord({"status", "web", "-o", "json"});
      bool open = status.output.find("\"version\":\"" + now() + "\"") != status.output.npos && status.output.find("\"outcome\":\"open\"") != status.output.npos;
      auto on = open ? fleet.ripcord({again % 2 == 0 ? "resume" : "retry", "web"}) : fleet.ripcord(apply_words(now(), fmt::format("{}.0", release - 1)));
      said += on.output;
    }
    INFO(said);
    CHECK(ended());
    CHECK(fleet.all_run(now()));
    CHECK(fleet.most_activated(1) == "");
    CHECK(starts(fleet, 1, now()) == activated(fleet, 1, now()));
  }
  bool ended() const { return fleet.version(1) == now() && !exists(fleet.hosts.seen(1, "/var/lib/ripcord/units/web/pending")); }
};

}  // namespace

TEST_CASE("cut, reset or flipped after byte n of a rollout's connections: one restart for each activation, and it comes to its end", "[network]") {
  ByteSweep sweep;
  write_slow(sweep.fleet, "1.0", "0");
  REQUIRE(sweep.fleet.ripcord(apply_words("1.0", "")).exit == 0);
  std::int64_t up = 1500, down = 4000;  // about, from the switch on
  if (long_campaign()) {
    REQUIRE(sweep.fleet.ripcord(sweep.next()).exit == 0);
    auto& wire = sweep.fleet.wire(1);
    up = wire.bytes(true), down = wire.bytes(false);
    REQUIRE(sweep.fleet.ripcord(sweep.next()).exit == 0);
    up = wire.bytes(true) - up, down = wire.bytes(false) - down;  // of all connections of a rollout: each ends before that
    for (bool early : {true, false})
      for (bool way : {false, true})
        for (Mode mode : {Mode::cut, Mode::reset, Mode::flip})
          for (std::int64_t at = 0; at < (way ? up : down) / (early ? 1 : 3); at += way ? 97 : 197) sweep.spoiled({.mode = mode, .at = at, .up = way}, early);
  } else {
    sweep.spoiled({.mode = Mode::cut, .at = 60}, false);
    sweep.spoiled({.mode = Mode::reset, .at = 1200, .up = true}, false);
  }
  auto line = fmt::format("byte sweep: {} rollouts, {} bytes up and {} down;", sweep.runs, up, down);
  for (const auto& [name, n] : sweep.outcomes) line += fmt::format(" {} {};", n, name);
  total(line);
  INFO(line);
  CHECK(sweep.outcomes["not reached"] * 2 <= sweep.runs);
  CHECK(sweep.outcomes["finished all the same"] > 0);
}
