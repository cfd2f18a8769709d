// Convergence debt: what is owed to whom by the ledger, what pays it, what excuses it, and what does not decide anything for others.
#include "plans/ledger/debt.hpp"

#include "core/base/digest.hpp"
#include "core/base/error.hpp"
#include "plans/ledger/live_releases.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;

namespace {

const WallTime kNoon = parse_utc("2026-11-20T12:00:00.000Z");

ReleaseId release(const std::string& version) { return {version, sha256("m" + version), sha256("t" + version)}; }

// A unit "web" on every host with role=web; a fleet of h1 h2 h3 that has it, and a database that does not.
struct Books {
  Fleet fleet;
  std::vector<LedgerEntry> entries;
  int rollouts = 0;

  Books() {
    fleet.name = "test";
    for (const char* name : {"h1", "h2", "h3"}) add_host(name);
    add_host("db", "db");
  }
  void add_host(const std::string& name, const std::string& role = "web") {
    Host h;
    h.name = name, h.labels = {{"host", name}, {"role", role}};
    fleet.hosts.push_back(h);
  }
  void say(json::object body) {
    LedgerEntry e;
    e.seq = static_cast<std::int64_t>(entries.size());
    body["seq"] = e.seq, body["time"] = format_utc(kNoon + Millis(1000) * e.seq), body["who"] = "ana";
    e.body = std::move(body);
    entries.push_back(std::move(e));
  }
  void in(const std::string& id, const std::string& kind, json::object more = {}) {
    more["kind"] = kind, more["rollout"] = id, more["unit"] = "web";
    say(std::move(more));
  }
  // `hosts`: "h1 h2!", where nothing runs on h2 yet; `left_out`: hosts with a reason, and until when they are in quarantine.
  std::string start(const std::string& from, const std::string& to, const std::string& hosts, std::vector<LeftOut> left_out = {}, std::string_view purpose = "", const std::string& away = "") {
    RolloutSpec s;
    s.id = "r" + std::to_string(++rollouts), s.fleet = "test", s.unit = "web", s.version = to, s.root = "/srv", s.manifest = sha256("m" + to);
    s.carried_by = "role=web", s.left_out = std::move(left_out), s.purpose = purpose, s.max_unreachable = 5;
    s.stages.push_back({});
    for (const auto& name : split(hosts, ' ')) {
      HostPlan h;
      bool fresh = name.ends_with('!');  // nothing runs there yet
      h.name = name.substr(0, name.size() - fresh), h.to = release(to);
      if (!from.empty() && !fresh) h.from = release(from);
      h.away = h.name == away;
      s.hosts.push_back(h);
    }
    in(s.id, "rollout.started", started_entry(s));
    return s.id;
  }
  void take(const std::string& id, const std::string& host) {
    in(id, "host.intent", {{"host", host}, {"op", "op"}, {"forward", true}});
    in(id, "host.confirmed", {{"host", host}, {"op", "op"}});
  }
  void silent(const std::string& id, const std::string& host) { in(id, "host.unreachable", {{"host", host}, {"reason", "no answer"}}); }
  void end(const std::string& id, const std::string& outcome = "completed") { in(id, "rollout.ended", {{"outcome", outcome}, {"exit", 0}}); }
  // A rollout that all of these hosts took.
  void roll(const std::string& from, const std::string& to, const std::string& hosts) {
    auto id = start(from, to, hosts);
    for (const auto& h : split(hosts, ' ')) take(id, h);
    end(id);
  }
  // To three hosts, of which the last one does not answer.
  void roll_without_h3(const std::string& from, const std::string& to) {
    auto id = start(from, to, "h1 h2 h3");
    take(id, "h1");
    take(id, "h2");
    silent(id, "h3");
    end(id);
  }
  void cord(const std::string& undoes, const std::string& moves, const json::object& targets, const std::string& late = "") {
    json::array moving;
    for (const auto& h : split(moves, ' '))
      if (!h.empty()) moving.push_back(json::value(h));
    say({{"kind", "rollback.started"}, {"rollback", "rb"}, {"unit", "web"}, {"undoes", undoes}, {"hosts", moving}, {"targets", targets}});
    for (const auto& h : moving)
      say({{"kind", "rollback.host"}, {"rollback", "rb"}, {"unit", "web"}, {"host", h}, {"result", "returned"}, {"after", targets.at(h.as_string())}});
    if (!late.empty())
      say({{"kind", "rollback.host"}, {"rollback", "rb"}, {"unit", "web"}, {"host", late}, {"result", "unreachable"}, {"after", "unknown"}, {"detail", "no route"}});
    say({{"kind", "rollback.ended"}, {"rollback", "rb"}, {"unit", "web"}});
    if (!undoes.empty()) end(undoes, "rolled_back");
  }
  void quarantine(const std::string& host, WallTime until) {
    auto e = quarantine_entry({host, "disk swap", "storage", "", {}, until}, "test");
    say(std::move(e));
  }
  static std::string folder(const std::string& version) { return release(version).folder(); }

  WallTime now() const { return kNoon + Millis(1000) * static_cast<std::int64_t>(entries.size()); }
  DebtBook book(std::optional<WallTime> at = {}) const { return fold_debts(entries, fleet, at.value_or(now())); }
  static std::string text(const std::vector<Debt>& debts) {
    std::string out;
    for (const auto& d : debts) out += (out.empty() ? "" : "; ") + d.host + " " + std::string(to_text(d.kind)) + " " + (d.version.empty() ? "nothing" : d.version);
    return out;
  }
  std::string owed() const { return text(book().owed); }
  std::string stable() const {
    auto book_now = book();
    const auto& unit = book_now.units["web"];
    return (unit.now() ? unit.now()->version : "none") + (unit.before() ? " before " + unit.before()->version : "");
  }
};

}  // namespace

TEST_CASE("a host that a rollout missed is owed its release until it has it; the others decide what the unit runs", "[debt]") {
  Books b;
  CHECK(b.owed().empty());
  b.roll("", "1.0", "h1 h2 h3");
  CHECK(b.owed().empty());
  CHECK(b.stable() == "1.0");
  auto id = b.start("1.0", "1.1", "h1 h2 h3");
  b.take(id, "h1");
  b.take(id, "h2");
  b.silent(id, "h3");
  CHECK(b.stable() == "1.0");  // it has not ended
  b.end(id);
  CHECK(b.owed() == "h3 away 1.1");
  CHECK(b.book().owed[0].text() == "web@1.1: it missed r2: no answer");
  CHECK(b.stable() == "1.1 before 1.0");

  auto converge = b.start("1.0", "1.1", "h3", {}, kConverge);
  b.take(converge, "h3");
  b.end(converge);
  CHECK(b.owed().empty());
  CHECK(b.stable() == "1.1 before 1.0");
}

TEST_CASE("hosts that joined, that stand in for another, and those that failed are owed; a database that does not carry the unit is not", "[debt]") {
  Books b;
  b.roll("", "1.0", "h1 h2 h3");
  b.add_host("h4");
  b.add_host("h5");
  b.add_host("db2", "db");
  CHECK(b.owed() == "h4 joined 1.0; h5 joined 1.0");
  b.say(replaced_entry("h3", "h5", "test", "broken board"));
  CHECK(b.owed() == "h4 joined 1.0; h5 replaces 1.0");
  CHECK(b.book().owed[1].why == "it replaces h3, which had it");

  // It failed alone, went back, and the rollout went on.
  auto id = b.start("1.0", "1.1", "h1 h2 h4 h5");
  b.take(id, "h1");
  b.in(id, "host.intent", {{"host", "h2"}, {"op", "op"}, {"forward", true}});
  b.in(id, "host.failed", {{"host", "h2"}, {"op", "op"}, {"switched", true}, {"reason", "health failed"}});
  b.in(id, "host.returned", {{"host", "h2"}, {"op", "op2"}});
  b.take(id, "h4");
  b.take(id, "h5");
  b.end(id);
  CHECK(b.owed() == "h2 failed 1.1");
}

TEST_CASE("a quarantine excuses a host by name until it ends; then it is owed what it missed", "[debt]") {
  Books b;
  b.roll("", "1.0", "h1 h2 h3");
  auto until = b.now() + Millis(3600000);
  b.quarantine("h3", until);
  auto id = b.start("1.0", "1.1", "h1 h2", {{"h3", "quarantined", until.ms}});
  b.take(id, "h1");
  b.take(id, "h2");
  b.end(id);
  CHECK(b.owed().empty());
  CHECK(b.stable() == "1.1 before 1.0");
  CHECK(Books::text(b.book().excused) == "h3 behind 1.1");
  CHECK(b.book().quarantines.at("h3").text() == "quarantined until " + until_text(until) + ", owner storage: disk swap");
  // What it may need is kept while it is away.
  auto needed = b.book().needed("web");
  for (const char* version : {"1.0", "1.1"}) CHECK(std::find(needed.begin(), needed.end(), sha256(std::string("m") + version)) != needed.end());

  auto later = b.book(until);
  CHECK(later.quarantines.empty());
  CHECK(later.over.contains("h3"));
  CHECK(Books::text(later.owed) == "h3 behind 1.1");

  b.say(lifted_entry("h3", "other", "another fleet's"));
  CHECK(b.owed().empty());
  b.say(lifted_entry("h3", "test", "back"));
  CHECK(b.owed() == "h3 behind 1.1");
}

TEST_CASE("a retired host is not owed anything; one that is only missing in the fleet file still is", "[debt]") {
  Books b;
  b.roll("", "1.0", "h1 h2 h3");
  b.roll_without_h3("1.0", "1.1");
  b.fleet.hosts.erase(b.fleet.hosts.begin() + 2);
  CHECK(b.owed() == "h3 gone 1.1");
  CHECK(b.book().owed[0].text() == "web@1.1: it missed r2: no answer; it is not in the fleet file any more");
  b.say(retired_entry("h3", "test", "scrapped"));
  CHECK(b.owed().empty());
  b.say(readmitted_entry("h3", "test", "after all"));
  CHECK(b.owed() == "h3 gone 1.1");

  Books chain;  // a replacement of a replacement stands in for both
  chain.roll("", "1.0", "h1 h2 h3");
  chain.add_host("h9");
  chain.say(replaced_entry("h3", "h8", "test", "x"));
  chain.say(replaced_entry("h8", "h9", "test", "x"));
  CHECK(chain.book().roster.stands_in_for("h9") == std::vector<std::string>{"h8", "h3"});
  CHECK(chain.owed() == "h9 replaces 1.0");
}

TEST_CASE("a limited rollout decides nothing for the others: they are owed it by name, and the unit's release stays", "[debt]") {
  Books b;
  b.roll("", "1.0", "h1 h2 h3");
  auto id = b.start("1.0", "1.1", "h1", {{"h2", "left out by --limit", 0}, {"h3", "left out by --limit", 0}});
  b.take(id, "h1");
  b.end(id);
  CHECK(b.owed() == "h2 left_out 1.1; h3 left_out 1.1");
  CHECK(b.stable() == "1.0");
  b.add_host("h4");
  CHECK(b.owed() == "h2 left_out 1.1; h3 left_out 1.1; h4 joined 1.0");
  b.fleet.hosts.pop_back();
  b.roll("1.0", "1.1", "h1 h2 h3");
  CHECK(b.owed().empty());
  CHECK(b.stable() == "1.1 before 1.0");
}

TEST_CASE("the rip cord decides what the unit runs when it moves most of it, and nothing for the others when it moves a few", "[debt]") {
  Books b;
  b.roll("", "1.0", "h1 h2 h3");
  b.roll("1.0", "1.1", "h1 h2 h3");
  auto one_zero = Books::folder("1.0"), one_one = Books::folder("1.1");

  auto few = b;
  few.cord("r2", "h1", {{"h1", one_zero}, {"h2", one_one}, {"h3", one_one}});
  CHECK(few.stable() == "1.1 before 1.0");
  CHECK(few.owed().empty());  // somebody wants h1 there

  b.cord("r2", "h1 h2", {{"h1", one_zero}, {"h2", one_zero}}, "h3");
  CHECK(b.stable() == "1.0");
  CHECK(b.owed() == "h3 away 1.0");
  auto undone = b.book().units["web"];
  REQUIRE(undone.now());
  CHECK(undone.now()->by_cord);
  CHECK(undone.now()->journalled_as() == "r2");

  Books first;
  first.roll("", "1.0", "h1 h2 h3");
  first.cord("r1", "h1 h2 h3", {{"h1", "nothing"}, {"h2", "nothing"}, {"h3", "nothing"}});
  CHECK(first.stable() == "none");
  CHECK(first.owed().empty());
}

TEST_CASE("a host that missed a rollout which the rip cord undid is not owed it any more", "[debt]") {
  Books b;
  b.roll("", "1.0", "h1 h2 h3");
  b.roll_without_h3("1.0", "1.1");
  CHECK(b.owed() == "h3 away 1.1");
  auto old = Books::folder("1.0");
  b.cord("r2", "h1 h2", {{"h1", old}, {"h2", old}, {"h3", old}});
  CHECK(b.owed().empty());
  CHECK(b.book().intents.at("web").at("h3").folder == old);
}

TEST_CASE("a rollout that failed owes nothing new, and pays nothing", "[debt]") {
  Books b;
  b.roll("", "1.0", "h1 h2 h3");
  b.add_host("h4");
  auto id = b.start("1.0", "1.1", "h1 h2 h3 h4!");
  b.take(id, "h1");
  b.take(id, "h4");
  CHECK(b.owed().empty());  // they are on their way
  for (const char* host : {"h1", "h4"}) {
    b.in(id, "host.intent", {{"host", host}, {"op", "op2"}, {"forward", false}});
    b.in(id, "host.returned", {{"host", host}, {"op", "op2"}});
  }
  b.end(id, "rolled_back");
  CHECK(b.owed() == "h4 joined 1.0");
  CHECK(b.stable() == "1.0");
}

TEST_CASE("a rollout that was taken back leaves what is known of hosts that it could not reach", "[debt]") {
  Books b;
  b.roll("", "1.0", "h1 h2 h3");
  auto id = b.start("1.0", "1.1", "h1 h2 h3!", {}, "", "h3");
  b.silent(id, "h3");
  CHECK(b.owed().empty());
  b.end(id, "rolled_back");
  CHECK(b.owed().empty());
  CHECK(b.book().intents.at("web").at("h3").version() == "1.0");
}

TEST_CASE("a quarantine takes a host out of a rollout that waits for it, and lifting it brings it back into the count", "[debt]") {
  Books b;
  auto id = b.start("1.0", "1.1", "h1 h2 h3");
  b.silent(id, "h3");
  auto state = [&] { return *fold_rollout(b.entries, id); };
  CHECK(state().unreachable == 1);
  b.quarantine("h3", b.now() + Millis(3600000));
  b.quarantine("h2", b.now() + Millis(3600000));
  CHECK(state().unreachable == 0);
  CHECK(state().hosts()[1].phase == HostPhase::unreachable);  // not touched any more
  b.in(id, "host.staged", {{"host", "h2"}});                  // it was being staged at that moment
  CHECK(state().hosts()[1].phase == HostPhase::unreachable);
  b.take(id, "h1");
  auto done = state();
  CHECK(done.is_quarantined("h3", b.now()));
  b.in(id, "rollout.retried", {{"hosts", json::array{"h2", "h3"}}});
  CHECK(state().count(HostPhase::unreachable) == 2);
  b.say(lifted_entry("h3", "test", "back"));
  CHECK(state().unreachable == 1);
  b.in(id, "rollout.retried", {{"hosts", json::array{"h3"}}});
  CHECK(state().unreachable == 0);
  CHECK(state().hosts()[2].phase == HostPhase::waiting);
}

TEST_CASE("a release counts as completed elsewhere once nobody is owed it there", "[debt]") {
  auto missing = [](const Books& b, WallTime at) { return not_completed(b.entries, "test", "web", sha256("m1.1"), Millis(5000), at).value_or("nothing"); };
  Books b;
  b.roll("", "1.0", "h1 h2 h3");
  auto id = b.start("1.0", "1.1", "h1 h2 h3");
  b.take(id, "h1");
  b.silent(id, "h2");
  b.silent(id, "h3");
  b.in(id, "rollout.ended", {{"outcome", "completed"}, {"exit", 4}, {"owed", json::array{"h2", "h3"}}});
  auto owed = "this very release of web was rolled out on fleet 'test', and 2 of its hosts are still owed it, h2 among them";
  CHECK(missing(b, b.now() + Millis(60000)) == owed);
  auto converge = b.start("1.0", "1.1", "h2", {}, kConverge);
  b.take(converge, "h2");
  b.end(converge);
  CHECK(missing(b, b.now() + Millis(60000)).find("1 of its hosts") != std::string::npos);
  b.quarantine("h3", b.now() + Millis(3600000));
  CHECK(missing(b, b.now()).find("ran on fleet 'test' for 1s, and 5s are asked for") != std::string::npos);
  CHECK(missing(b, b.now() + Millis(60000)) == "nothing");
}

TEST_CASE("until when a host is in quarantine, as people write it", "[debt]") {
  auto text = [](const std::string& t) { return format_utc(parse_until(t, kNoon)); };
  CHECK(text("2026-11-30") == "2026-12-01T00:00:00.000Z");
  CHECK(until_text(parse_until("2026-11-30", kNoon)) == "the end of 2026-11-30");
  CHECK(text("2026-11-20") == "2026-11-21T00:00:00.000Z");
  CHECK(text("2026-11-20T18:00Z") == "2026-11-20T18:00:00.000Z");
  CHECK(until_text(parse_until("2026-11-20T18:00Z", kNoon)) == "2026-11-20 18:00 UTC");
  CHECK(text("2026-11-20T18:00:05Z") == "2026-11-20T18:00:05.000Z");
  CHECK(text("3d") == "2026-11-23T12:00:00.000Z");
  CHECK(text("90m") == "2026-11-20T13:30:00.000Z");
  for (const char* wrong : {"", "tomorrow", "2026-13-01", "2026-11-19", "0s", "2026-11-20T11:00Z", "2026-02-30"}) {
    INFO(wrong);
    CHECK_THROWS_AS(parse_until(wrong, kNoon), Error);
  }
}
