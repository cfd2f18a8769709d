// Steering and looking at a rollout that is in the ledger and that no process runs.
#include "cli/view/words.hpp"
#include "core/base/files.hpp"
#include "core/net/ledger.hpp"
#include "plans/ledger/history.hpp"
#include "tests/cli/rollout_fixture.hpp"
#include "tests/cli/run.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

struct Place {
  TempDir dir;
  std::string fleet = dir.path() + "/fleet.yaml";
  UtcZone utc;

  Place() {
    write_file_durable(fleet, "fleet: demo\nlink: local\ndatacenters:\n  ams:\n    hosts: web-[01:04]\n  fra:\n    hosts: fra-01\n", 0644);
  }

  void tell(const std::vector<LedgerEntry>& entries) {
    Loop loop;
    SystemClock clock(loop);
    Ledger ledger(loop, clock, open_sqlite_ledger(dir.path() + "/.ripcord/ledger.db"), "ana", "ops-1");
    std::vector<json::object> bodies;
    for (const auto& e : entries) {
      auto body = e.body;
      for (const char* stamped : {"seq", "time", "who", "machine"}) body.erase(stamped);
      bodies.push_back(std::move(body));
    }
    run_to_end(loop, append(ledger, std::move(bodies)));
  }
  static Task<> append(Ledger& ledger, std::vector<json::object> bodies) { co_await ledger.append(std::move(bodies)); }

  Ran on(std::vector<std::string> words) {
    words.insert(words.begin(), {"-f", fleet});
    return run(std::move(words));
  }
};

json::object last_entry(Place& place) {
  auto all = parse_json_object(place.on({"history", "--all", "-o", "json"}).out, "history");
  return all.at("history").as_array().back().as_object();
}

}  // namespace

TEST_CASE("nothing has happened yet") {
  Place place;
  auto r = place.on({"status"});
  CHECK(r.exit == 0);
  CHECK(r.out == "no rollout yet\n");
  CHECK(place.on({"pause", "storefront"}).err == "ripcord: error: unit 'storefront' has no rollout in this ledger\n");
  CHECK(place.on({"pause", "storefront"}).exit == 8);
  CHECK(place.on({"history"}).err == "the ledger is empty\n");
  CHECK(place.on({"status", "-o", "json"}).out == "{\"rollouts\":[]}\n");
}

TEST_CASE("a baking rollout: status, pause, promote, resume --due leaves paused ones alone") {
  Place place;
  Story story(small_spec());
  story.say("stage.started", {{"stage", 0}, {"name", "canary"}});
  story.confirm("web-01");
  story.say("stage.baking", {{"stage", 0}});
  place.tell(story.entries());

  auto status = place.on({"status"});
  CHECK(status.exit == 6);
  CHECK(status.out.starts_with("storefront 1.1: baking in stage canary until "));
  CHECK(status.out.find("\nrun by   no process\n") != std::string::npos);
  CHECK(status.err.find("  next: ripcord -f " + place.fleet + " promote storefront  (ends the bake now)\n") != std::string::npos);

  CHECK(place.on({"pause", "storfront"}).err.starts_with("ripcord: error: unit 'storfront' has no rollout in this ledger, did you mean 'storefront'?\n"));
  auto paused = place.on({"pause", "storefront", "-m", "lunch"});
  CHECK(paused.exit == 0);
  CHECK(paused.out.starts_with("storefront 1.1: paused by "));
  CHECK(paused.out.ends_with(": lunch\n"));
  CHECK(paused.err == "recorded; no process runs this rollout: `ripcord -f " + place.fleet + " resume storefront` goes on\n");
  CHECK(last_entry(place).at("kind") == "rollout.paused");
  CHECK(last_entry(place).at("why") == "lunch");
  CHECK(place.on({"pause", "storefront"}).exit == 8);
  auto watched = place.on({"status", "-w", "storefront"});  // nobody would ever end it
  CHECK(watched.exit == 6);
  CHECK(watched.err.starts_with("no process runs it now: nothing more comes until a person goes on with it\n"));

  auto due = place.on({"resume", "--due"});
  CHECK(due.exit == 6);
  CHECK(due.err.find("paused in stage canary by a person: lunch") != std::string::npos);

  auto promoted = place.on({"promote", "storefront", "-o", "json"});
  CHECK(promoted.exit == 0);
  auto o = parse_json_object(promoted.out, "promoted");
  CHECK(o.at("kind") == "rollout.promoted");
  CHECK(o.at("stage") == 0);
  CHECK(o.at("by") == "person");
  CHECK(o.at("runner").is_null());
}

TEST_CASE("approve is for the stage that asks, retry for hosts in trouble") {
  Place place;
  Story story(small_spec());
  story.say("stage.started", {{"stage", 0}, {"name", "canary"}});
  story.confirm("web-01");
  story.say("stage.passed", {{"stage", 0}});
  place.tell(story.entries());
  CHECK(place.on({"retry", "storefront"}).err == "ripcord: error: no host failed or did not answer: there is nothing to retry\n");
  CHECK(place.on({"retry", "storefront", "web-99"}).err.starts_with("ripcord: error: host 'web-99' is not part of this rollout"));
  CHECK(place.on({"retry", "storefront", "web-01"}).err == "ripcord: error: host 'web-01' is confirmed: there is nothing to retry\n");
  CHECK(place.on({"promote", "storefront"}).exit == 8);
  auto early = place.on({"approve", "storefront"});  // nobody has seen yet what goes before it
  CHECK(early.exit == 8);
  CHECK(early.err.find("asks for approval once stage ") != std::string::npos);
  Story passed(small_spec());
  passed.say("stage.started", {{"stage", 0}, {"name", "canary"}});
  passed.confirm("web-01");
  for (int stage : {0, 1}) passed.say("stage.passed", {{"stage", stage}});
  Place place2;
  place2.tell(passed.entries());
  auto o = parse_json_object(place2.on({"approve", "storefront", "-m", "ok", "-o", "json"}).out, "approved");
  CHECK(o.at("kind") == "rollout.approved");
  CHECK(o.at("stage") == 2);
  CHECK(place2.on({"approve", "storefront"}).exit == 8);
}

TEST_CASE("a live process is told, and a second one does not start") {
  Place place;
  Story story(small_spec());
  story.say("stage.started", {{"stage", 0}, {"name", "canary"}});
  place.tell(story.entries());
  {
    auto store = open_sqlite_ledger(place.dir.path() + "/.ripcord/ledger.db");
    Lease lease;
    lease.scope = "storefront";
    lease.holder = "h1";
    lease.who = "ana";
    lease.machine = "ops-1";
    REQUIRE(store->acquire(lease, Millis(30000), 0, false));
  }
  auto resumed = place.on({"resume", "storefront"});
  CHECK(resumed.exit == 7);
  CHECK(resumed.err.starts_with("ripcord: error: it is running: ana on ops-1 has it\n"));
  auto aborted = place.on({"abort", "storefront", "-m", "wrong"});
  CHECK(aborted.exit == 0);
  CHECK(aborted.err == "run by ana on ops-1, which hears it at once\n");
  CHECK(last_entry(place).at("kind") == "rollout.aborted");
}

TEST_CASE("logs show kept output, escaped line by line") {
  Place place;
  Story story(small_spec());
  story.say("host.failed", {{"host", "web-01"}, {"op", "o"}, {"failed_step", "health"}, {"reason", "status 500"}, {"output", "one\n\x1b[2Jtwo\n"},
                            {"log_tail", "boom\n"}, {"switched", true}});
  place.tell(story.entries());
  auto r = place.on({"logs", "storefront"});
  CHECK(r.exit == 0);
  auto lines = split(r.out, '\n');
  REQUIRE(lines.size() == 5);
  CHECK(lines[0].ends_with("  failed at health: status 500"));
  CHECK(lines[1] == "output  one");
  CHECK(lines[2] == "output  \\x1b[2Jtwo");
  CHECK(lines[3] == "log     boom");
  CHECK(place.on({"logs", "storefront", "web-02"}).err.starts_with("nothing failed on web-02 in rollout r-20261120"));
  auto o = parse_json_object(place.on({"logs", "storefront", "-o", "json"}).out, "logs");
  CHECK(o.at("logs").as_array().at(0).as_object().at("failed_step") == "health");
}

TEST_CASE("after the rip cord the status says where hosts are, not where they were") {
  Place place;
  Story story(small_spec());
  for (const char* host : {"web-01", "web-02"}) {
    story.say("host.intent", {{"host", host}, {"op", "op"}, {"forward", true}});
    story.say("host.confirmed", {{"host", host}});
  }
  story.say("rollout.ended", {{"outcome", "needs_person"}, {"exit", 4}, {"why", "the rip cord was pulled"}, {"returned", json::array{"web-01"}}, {"owed", json::array{"web-02"}}});
  place.tell(story.entries());
  auto said = place.on({"status"}).out;
  INFO(said);
  CHECK(said.find("web-01  returned") != said.npos);
  CHECK(said.find("web-02  unknown: the rip cord did not reach it") != said.npos);
}

TEST_CASE("a finished rollout keeps its exit code in status") {
  Place place;
  Story story(small_spec());
  story.say("rollout.ended", {{"outcome", "rolled_back"}, {"exit", 3}, {"why", "1 host failed"}, {"owed", json::array{}}});
  place.tell(story.entries());
  CHECK(place.on({"status"}).exit == 3);
  CHECK(place.on({"status", "-w"}).exit == 3);
  auto o = parse_json_object(place.on({"status", "storefront", "-o", "json"}).out, "status");
  CHECK(o.at("outcome") == "rolled_back");
  CHECK(o.at("exit") == 3);
  CHECK(place.on({"abort", "storefront"}).err.starts_with("ripcord: error: no rollout of 'storefront' is open; the last one: storefront 1.1: rolled back at "));
  CHECK(place.on({"resume", "storefront"}).exit == 8);
  CHECK(place.on({"resume", "--due"}).exit == 0);
}
