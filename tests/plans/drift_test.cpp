#include "plans/drift/drift.hpp"

#include "core/base/digest.hpp"
#include "core/base/error.hpp"
#include "core/base/files.hpp"
#include "plans/drift/drift_memory.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

const WallTime kNoon = parse_utc("2026-11-20T12:00:00.000Z");

ReleaseId release(const std::string& version) { return {version, sha256("m" + version), sha256("t" + version)}; }

RolloutSpec spec_of(const std::string& id, const std::string& from, const std::string& to) {
  RolloutSpec s;
  s.id = id, s.fleet = "test", s.unit = "web", s.version = to, s.root = "/srv", s.manifest = sha256("m" + to);
  s.stages.push_back({});
  for (const char* name : {"h1", "h2", "h3"}) {
    HostPlan h;
    h.name = name;
    if (!from.empty()) h.from = release(from);
    h.to = release(to);
    s.hosts.push_back(h);
  }
  return s;
}

struct Story {
  std::vector<LedgerEntry> entries;
  void say(json::object body) {
    LedgerEntry e;
    e.seq = static_cast<std::int64_t>(entries.size());
    body["seq"] = e.seq;
    body["time"] = format_utc(kNoon + Millis(1000) * e.seq);
    body["who"] = "ana";
    e.body = std::move(body);
    entries.push_back(std::move(e));
  }
  void start(const std::string& id, const std::string& from, const std::string& to) {
    say({{"kind", "rollout.started"}, {"rollout", id}, {"unit", "web"}, {"spec", to_json(spec_of(id, from, to))}});
  }
  void host(const std::string& id, const std::string& kind, const std::string& host, json::object more = {}) {
    more["kind"] = "host." + kind, more["rollout"] = id, more["unit"] = "web", more["host"] = host;
    if (kind == "intent") more["op"] = "op", more["forward"] = more.contains("forward") ? more["forward"] : json::value(true);
    say(std::move(more));
  }
  void take(const std::string& id, const std::string& name) {
    host(id, "intent", name);
    host(id, "confirmed", name);
  }
  void end(const std::string& id, const std::string& outcome) { say({{"kind", "rollout.ended"}, {"rollout", id}, {"unit", "web"}, {"outcome", outcome}}); }
  Intent of(const std::string& host) const { return fold_intents(entries).at("web").at(host); }
  std::string text(const std::string& host) const {
    auto i = of(host);
    const char* names[] = {"settled", "moving", "failed", "away"};
    return (i.folder.empty() ? "nothing" : i.version()) + " " + names[static_cast<int>(i.standing)];
  }
  static Story deployed() {
    Story s;
    s.start("r1", "", "1.0");
    for (const char* h : {"h1", "h2", "h3"}) s.take("r1", h);
    s.end("r1", "completed");
    return s;
  }
};

struct World {
  std::vector<Host> hosts{3};
  std::vector<HostScan> scans{3};
  Story story = Story::deployed();
  Intents before, after;
  std::vector<IgnoreRule> rules;
  std::vector<Accepted> accepted;
  WallTime now = kNoon + Millis(60000);

  World() {
    for (int i = 0; i < 3; ++i) {
      hosts[static_cast<std::size_t>(i)].name = "h" + std::to_string(i + 1);
      auto& s = scans[static_cast<std::size_t>(i)];
      s.host = &hosts[static_cast<std::size_t>(i)];
      s.report.emplace();
      UnitScan u;
      u.unit = "web", u.current = Observation::Current::release;
      u.intended = u.running = release("1.0");
      u.journal_seq = 9, u.journal_hash = "abc";
      s.report->units.push_back(u);
    }
  }
  UnitScan& unit(int i) { return scans[static_cast<std::size_t>(i - 1)].report->units[0]; }
  void find(int i, const std::string& kind, const std::string& path, const std::string& detail = "") {
    unit(i).findings.push_back({kind, path, detail, "", 0, 0});
  }
  std::vector<DriftItem> judge() {
    if (after.empty()) before = after = fold_intents(story.entries);
    DriftInput in{&before, &after, [this](const std::string&, const Intent&) { return rules; }, accepted, {"web"}, now};
    return judge_drift(scans, in);
  }
  std::string said() {
    std::string out;
    for (const auto& i : judge()) {
      out += i.host + " " + i.finding.kind + (i.finding.path.empty() ? "" : " " + i.finding.path) + ": " + std::string(to_text(i.cause));
      out += (i.why.empty() ? "" : ", " + i.why) + "\n";
    }
    return out;
  }
};

}  // namespace

TEST_CASE("what the ledger says a host should run", "[drift]") {
  auto s = Story::deployed();
  CHECK(s.text("h1") == "1.0 settled");
  s.start("r2", "1.0", "1.1");
  CHECK(s.text("h1") == "1.0 settled");
  s.host("r2", "staged", "h1");
  CHECK(s.text("h1") == "1.0 settled");
  s.host("r2", "intent", "h1");
  CHECK(s.text("h1") == "1.1 moving");
  s.host("r2", "confirmed", "h1");
  CHECK(s.text("h1") == "1.1 settled");
  SECTION("it went back") {
    s.host("r2", "intent", "h1", {{"forward", false}});
    CHECK(s.text("h1") == "1.1 moving");
    s.host("r2", "returned", "h1");
    CHECK(s.text("h1") == "1.0 settled");
    s.end("r2", "rolled_back");
    CHECK(s.text("h1") == "1.0 settled");
    CHECK(s.text("h2") == "1.0 settled");
  }
  SECTION("completed, with a host that failed and one that was away") {
    s.host("r2", "failed", "h2", {{"reason", "no space"}, {"switched", false}});
    CHECK(s.text("h2") == "1.1 moving");
    s.host("r2", "unreachable", "h3", {{"reason", "no route"}});
    s.end("r2", "completed");
    CHECK(s.text("h1") == "1.1 settled");
    CHECK(s.text("h2") == "1.1 failed");
    CHECK(s.of("h2").reason == "no space");
    CHECK(s.text("h3") == "1.1 away");
    CHECK(s.of("h3").reason == "no route");
  }
  SECTION("the cord was pulled: whatever the rollout wanted") {
    s.say({{"kind", "rollback.host"}, {"unit", "web"}, {"op", "rb-1"}, {"host", "h1"}, {"before", release("1.1").folder()}, {"after", release("1.0").folder()}, {"result", "returned"}});
    s.say({{"kind", "rollback.host"}, {"unit", "web"}, {"op", "rb-1"}, {"host", "h3"}, {"before", "nothing"}, {"after", "nothing"}, {"result", "unreachable"}, {"detail", "dead"}});
    s.end("r2", "rolled_back");
    CHECK(s.text("h1") == "1.0 settled");
    CHECK(s.of("h1").manifest == sha256("m1.0"));
    CHECK(s.text("h2") == "1.0 settled");
    CHECK(s.text("h3") == "1.0 away");
  }
}

TEST_CASE("a host that is as it should be has no finding, one that differs has each with its cause", "[drift]") {
  World w;
  CHECK(w.said().empty());
  w.find(1, "changed", "lib/a", "expected x, found y");
  w.find(2, "not_running", "");
  w.unit(3).intended = w.unit(3).running = release("0.9");
  w.unit(3).last_op = OpState{.op = "x", .who = "bob", .why = "INC-1"};
  CHECK(w.said() == "h1 changed lib/a: unaudited\nh2 not_running: unaudited\nh3 wrong_release: unaudited\n");
  auto items = w.judge();
  CHECK(items[2].finding.detail == "expected " + release("1.0").folder() + ", found " + release("0.9").folder() + "; its journal says: deployed by bob, \"INC-1\"");
  CHECK(drift_exit(w.scans, items) == Exit::drift);
}

TEST_CASE("clock, foreign units, helper: findings of the host itself", "[drift]") {
  World w;
  w.scans[0].clock_skew = Millis(-7200000);
  w.scans[1].clock_skew = Millis(29000);
  w.scans[1].report->others = {{"miner", "/srv"}, {"web", "/srv"}};
  w.scans[2].report->findings.push_back({"helper", "/x", "y", "", 0, 0});
  CHECK(w.said() == "h1 clock: unaudited\nh2 foreign_unit /srv/miner: unaudited\nh3 helper /x: unaudited\n");
  CHECK(w.judge()[0].finding.detail == "2h behind");
  // A unit that this ledger never brought to this host, although it knows it elsewhere.
  w.story.entries.clear();
  w.after.clear();
  w.story.start("r1", "", "1.0");
  auto only = fold_intents(w.story.entries);
  only["web"].erase("h1");
  w.before = w.after = only;
  w.scans[0].clock_skew = Millis(0);
  CHECK(w.said().starts_with("h1 foreign_unit: unaudited\n"));
}

TEST_CASE("a rollout that is at a host explains what it moves, and nothing else", "[drift]") {
  World w;
  for (int i : {1, 2}) {
    w.find(i, "not_running", "");
    w.find(i, "missing", "/etc/app.conf");
    w.find(i, "changed", "lib/a");
  }
  w.story.start("r2", "1.0", "1.1");
  w.story.host("r2", "intent", "h1");
  CHECK(w.said() ==
        "h1 changed lib/a: unaudited\nh1 missing /etc/app.conf: pending, rollout r2 is at it\nh1 not_running: pending, rollout r2 is at it\n"
        "h1 wrong_release: pending, rollout r2 is at it\nh2 changed lib/a: unaudited\nh2 missing /etc/app.conf: unaudited\nh2 not_running: unaudited\n");
  // It began or ended between the two readings of the ledger.
  w.before = fold_intents(Story::deployed().entries);
  for (int i : {1, 2}) w.unit(i).findings.clear();
  w.story.host("r2", "confirmed", "h1");
  w.after = fold_intents(w.story.entries);
  CHECK(w.said() == "h1 wrong_release: pending, rollout r2 is at it\n");
  // An operation that the ledger of this moment does not know yet.
  w.before = w.after;
  w.unit(1).in_motion = true;
  CHECK(w.said() == "h1 wrong_release: pending, rollout r2 is at it\n");
  CHECK(drift_exit(w.scans, w.judge()) == Exit::done);
}

TEST_CASE("failed installs and hosts that were away are told from changes that nobody audited", "[drift]") {
  World w;
  w.story.start("r2", "1.0", "1.1");
  w.story.take("r2", "h1");
  w.story.host("r2", "failed", "h2", {{"reason", "stage failed: no space"}, {"switched", false}});
  w.story.host("r2", "unreachable", "h3", {{"reason", "connect timed out"}});
  w.story.end("r2", "completed");
  w.unit(1).last_op = OpState{.op = "o", .rollout = "r2", .phase = OpPhase::reverted, .detail = "not confirmed within 1m"};
  CHECK(w.said() ==
        "h1 wrong_release: failed_install, r2 failed on it: not confirmed within 1m\n"
        "h2 wrong_release: failed_install, r2 failed on it: stage failed: no space\n"
        "h3 wrong_release: away, it missed r2: connect timed out\n");
  auto items = w.judge();
  CHECK(drift_exit(w.scans, items) == Exit::unreachable);  // owed, and the worse of the two
  CHECK(drift_exit(w.scans, {items[0]}) == Exit::drift);
}

TEST_CASE("known findings need an owner and end by themselves", "[drift]") {
  World w;
  w.find(1, "changed", "cache/index", "x");
  w.find(1, "mode", "lib/a", "y");
  w.rules = {{"cache/*", "jane", "made at run time", "2026-11-20"}};
  CHECK(w.said() == "h1 changed cache/index: known, ignored by jane until 2026-11-20: made at run time\nh1 mode lib/a: unaudited\n");
  auto key = w.judge()[1].key();
  w.accepted = {{key, "y", "bob", "INC-3", "2026-12-01"}};
  CHECK(drift_exit(w.scans, w.judge()) == Exit::done);
  w.unit(1).findings[1].detail = "z";  // another change of the same file
  CHECK(drift_exit(w.scans, w.judge()) == Exit::drift);
  w.unit(1).findings[1].detail = "y";
  w.now = parse_utc("2026-12-02T00:00:00.000Z");
  CHECK(w.said() == "h1 changed cache/index: unaudited, the ignore rule of jane for 'cache/*' ended on 2026-11-20\n"
                    "h1 mode lib/a: unaudited, the acceptance by bob ended on 2026-12-01\n");
  Story s;
  s.say({{"kind", "drift.accepted"}, {"key", key}, {"detail", "y"}, {"until", "2026-12-01"}, {"why", "a"}});
  s.say({{"kind", "drift.accepted"}, {"key", key}, {"detail", "y"}, {"until", "2027-12-01"}, {"why", "b"}});
  auto accepted = fold_accepted(s.entries);
  REQUIRE(accepted.size() == 1);
  CHECK(accepted[0].until == "2027-12-01");
}

TEST_CASE("a host that did not answer is never clean, and a wrong host key is worse", "[drift]") {
  World w;
  w.scans[1].report.reset();
  CHECK(drift_exit(w.scans, w.judge()) == Exit::unreachable);
  w.scans[2].report.reset();
  w.scans[2].fault_kind = LinkFault::trust;
  CHECK(drift_exit(w.scans, w.judge()) == Exit::integrity);
}

TEST_CASE("ways back: what the scan told is counted as doctor and hosts count it", "[drift]") {
  World w;
  w.judge();
  for (int i = 1; i <= 2; ++i) w.unit(i).back_state = "verified", w.unit(i).way_back = release("1.0"), w.unit(i).back_ms = 1200;
  w.unit(3).back_state = "verified";  // it came from nothing
  auto says = [&] { return ways_back(w.scans, w.after, {"web"}).at("web").text(); };
  CHECK(says() == "3 of 3 hosts can go back now, to 1.0 (2), nothing (1), in about 2s");
  w.unit(1).back_state = "damaged";
  w.unit(2).back_state = "missing";
  w.scans[2].report.reset();
  CHECK(says() == "0 of 3 hosts can go back now; 1 damaged; 1 missing it; 1 did not answer");
  w.unit(1).back_state = "none";
  auto ways = ways_back(w.scans, w.after, {"web"}).at("web");
  CHECK(ways.of == 2);
  CHECK(ways.count(BackState::none) == 1);
  w.after["web"].erase("h2");  // not asked about it
  CHECK(ways_back(w.scans, w.after, {"web"}).at("web").hosts.size() == 2);
}

TEST_CASE("memory: since when, k of n, new, gone, and a journal that went back", "[drift]") {
  World w;
  TempDir dir;
  auto file = dir / "drift.json";
  int minute = 0;
  std::vector<DriftItem> items;
  auto scan = [&](Persistence p = {1, 1}) {
    auto m = DriftMemory::load(file);
    items = w.judge();
    auto gone = m.take(w.scans, {"web"}, items, p, kNoon + Millis(60000) * ++minute);
    m.save(file);
    return gone;
  };
  CHECK(scan().empty());
  CHECK(items.empty());
  w.find(1, "changed", "lib/a", "x");
  CHECK(scan().empty());
  REQUIRE(items.size() == 1);
  CHECK(items[0].fresh);
  CHECK(format_utc(items[0].first_seen) == "2026-11-20T12:02:00.000Z");
  CHECK(format_utc(items[0].unseen_at) == "2026-11-20T12:01:00.000Z");
  scan();
  CHECK_FALSE(items.at(0).fresh);
  CHECK(format_utc(items[0].first_seen) == "2026-11-20T12:02:00.000Z");
  CHECK(format_utc(items[0].last_seen) == "2026-11-20T12:03:00.000Z");
  // While the host does not answer nothing is known to be gone.
  auto report = w.scans[0].report;
  w.scans[0].report.reset();
  CHECK(scan().empty());
  w.scans[0].report = report;
  w.unit(1).findings.clear();
  auto gone = scan();
  REQUIRE(gone.size() == 1);
  CHECK(gone[0].finding.path == "lib/a");
  CHECK(scan().empty());

  SECTION("2 of 3") {
    std::string alerts;
    for (char there : std::string("1010011")) {
      w.unit(1).findings.clear();
      if (there == '1') w.find(1, "not_running", "");
      auto ceased = scan({2, 3});
      alerts += items.empty() ? (ceased.empty() ? '-' : 'g') : items[0].alerts ? (items[0].fresh ? 'N' : 'a') : 'w';
    }
    CHECK(alerts == "w-Ng-wN");
  }
  SECTION("the journal") {
    w.unit(1).journal_seq = 7;
    scan();
    REQUIRE(items.size() == 1);
    CHECK(items[0].finding.detail == "the journal had 9 records, and has 7 now");
    w.unit(1).journal_seq = 9, w.unit(1).journal_hash = "other";
    scan();
    CHECK(items.at(0).finding.detail == "record 9 of the journal is another one than before");
    CHECK_FALSE(items.at(0).fresh);
    w.unit(1).journal_seq = 12;
    CHECK(scan().size() == 1);
  }
  SECTION("a file that is no memory") {
    write_file_durable(file, "{}");
    CHECK_THROWS_WITH(DriftMemory::load(file), Catch::Contains("drift.json' cannot be read: member 'format' is missing"));
  }
}

TEST_CASE("k of n is read strictly", "[drift]") {
  CHECK(Persistence::parse("2 of 3").text() == "2 of 3");
  CHECK(Persistence::parse("1/5").n == 5);
  for (const char* bad : {"", "2", "3/2", "0/1", "a of b", "1 of 1000", "1/2/3"}) CHECK_THROWS_AS(Persistence::parse(bad), Error);
}
