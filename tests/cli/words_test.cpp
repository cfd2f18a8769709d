#include "cli/view/words.hpp"

#include "cli/holder.hpp"
#include "cli/view/rollout_json.hpp"
#include "cli/view/tree.hpp"
#include "plans/files/fleet.hpp"
#include "tests/cli/rollout_fixture.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;
using namespace ripcord::cli;
using namespace ripcord::test;

namespace {

std::string event(const Story& story) {
  auto e = describe(story.entries().back(), story.state());
  return e ? e->text : "(nothing)";
}

Runner runner_until(WallTime t) {
  Lease lease;
  lease.who = "ana";
  lease.machine = "ops-1";
  lease.expires_ms = t.ms;
  return {lease};
}

std::string commands(const std::vector<NextStep>& steps) {
  std::string out;
  for (const auto& s : steps) out += s.command + ";";
  return out;
}

}  // namespace

TEST_CASE("host names are compressed to ranges that expand to the same names") {
  CHECK(compress_hosts({}) == "");
  CHECK(compress_hosts({"web-01"}) == "web-01");
  CHECK(compress_hosts({"web-01", "web-02", "web-04", "api", "web-03"}) == "web-[01:04], api");
  CHECK(compress_hosts({"web-09", "web-10", "web-12"}) == "web-[09:10], web-12");
  CHECK(compress_hosts({"n1.ams", "n2.ams", "n1.fra"}) == "n[1:2].ams, n1.fra");
  CHECK(compress_hosts({"n9", "n10"}) == "n9, n10");
  CHECK(compress_hosts({"x99999999999", "x99999999998"}) == "x99999999999, x99999999998");
  CHECK(compress_hosts({"a-01", "a-01"}) == "a-01");
}

TEST_CASE("the verdict says where a rollout stands, in one sentence") {
  UtcZone utc;
  Story story(small_spec());
  auto v = [&] { return verdict(story.state(), story.now()).text; };
  story.say("stage.started", {{"stage", 0}, {"name", "canary"}});
  CHECK(v() == "storefront 1.1: staging in stage canary (0 of 5 hosts confirmed)");
  story.confirm("web-01");
  story.say("stage.baking", {{"stage", 0}});
  CHECK(v() == "storefront 1.1: baking in stage canary until 12:30 (1 of 5 hosts confirmed)");
  story.say("rollout.paused", {{"by", "person"}, {"why", "lunch"}});
  CHECK(v() == "storefront 1.1: paused in stage canary by a person: lunch (1 of 5 hosts confirmed)");
  story.say("rollout.resumed", {});
  story.say("rollout.promoted", {{"stage", 0}});
  story.say("stage.passed", {{"stage", 0}});
  story.say("stage.started", {{"stage", 1}, {"name", "one-each"}});
  story.confirm("web-02");
  story.confirm("fra-01");
  story.say("stage.passed", {{"stage", 1}});
  CHECK(v() == "storefront 1.1: waiting for approval of stage all (3 of 5 hosts confirmed)");
  story.say("rollout.approved", {{"stage", 2}});
  story.say("stage.started", {{"stage", 2}, {"name", "all"}});
  story.confirm("web-03");
  story.say("host.unreachable", {{"host", "web-04"}, {"reason", "connect timed out"}, {"name", "connect_timeout"}});
  story.say("stage.passed", {{"stage", 2}});
  story.say("rollout.ended", {{"outcome", "completed"}, {"exit", 4}, {"owed", {"web-04"}}});
  CHECK(v() == "storefront 1.1: completed at 12:00:26 (4 of 5 hosts confirmed), owed: web-04");
  CHECK(commands(next_steps(story.state(), {}, story.now())) == "converge --unit storefront -m WHY;");
}

TEST_CASE("a failed rollout says why, and who is not where they should be") {
  UtcZone utc;
  Story story(small_spec());
  story.say("stage.started", {{"stage", 0}, {"name", "canary"}});
  story.say("host.intent", {{"host", "web-01"}, {"op", "o"}, {"forward", true}, {"from", "1.0-0123456789ab"}, {"to", "1.1-ba9876543210"}});
  CHECK(event(story) == "web-01 activating 1.1 (from 1.0)");
  story.say("host.failed", {{"host", "web-01"}, {"op", "o"}, {"failed_step", "health"}, {"reason", "status 500"}, {"switched", true}});
  CHECK(event(story) == "web-01 failed at health: status 500");
  story.say("rollout.rolling_back", {{"why", "1 host failed (web-01: status 500)"}});
  CHECK(verdict(story.state(), story.now()).text ==
        "storefront 1.1: rolling back: 1 host failed (web-01: status 500) (0 hosts back on the old release)");
  story.say("host.intent", {{"host", "web-01"}, {"op", "o2"}, {"forward", false}, {"from", "1.1-ba9876543210"}, {"to", "1.0-0123456789ab"}});
  CHECK(event(story) == "web-01 going back to 1.0");
  Story other = story;
  story.say("host.returned", {{"host", "web-01"}, {"op", "o2"}, {"to", "1.0-0123456789ab"}});
  CHECK(event(story) == "web-01 returned to 1.0");
  story.say("rollout.ended", {{"outcome", "rolled_back"}, {"exit", 3}, {"why", "1 host failed"}, {"owed", json::array{}}});
  CHECK(event(story) == "rolled back: 1 host failed");
  CHECK(verdict(story.state(), story.now()).text == "storefront 1.1: rolled back at 12:00:08: 1 host failed (web-01: status 500)");
  CHECK(commands(next_steps(story.state(), {}, story.now())) == "logs storefront;");

  other.say("host.stuck", {{"host", "web-01"}, {"op", "o2"}, {"reason", "current is elsewhere"}});
  other.say("rollout.ended", {{"outcome", "needs_person"}, {"exit", 5}, {"owed", {"web-01"}}});
  CHECK(verdict(other.state(), other.now()).text == "storefront 1.1: needs a person: look at web-01");
}

TEST_CASE("what to do next depends on who runs it") {
  Story story(small_spec());
  story.say("stage.started", {{"stage", 0}, {"name", "canary"}});
  auto later = story.now() + Millis(5000);
  CHECK(commands(next_steps(story.state(), runner_until(later), story.now())) == "");
  CHECK(commands(next_steps(story.state(), {}, story.now())) == "resume storefront;");
  CHECK(commands(next_steps(story.state(), runner_until(story.now()), story.now())) == "resume storefront;");
  story.confirm("web-01");
  story.say("stage.baking", {{"stage", 0}});
  CHECK(commands(next_steps(story.state(), runner_until(later), story.now())) == "promote storefront;");
  story.say("rollout.paused", {{"by", "policy"}, {"why", "x"}});
  CHECK(commands(next_steps(story.state(), {}, story.now())) == "resume storefront;abort storefront;");
}

TEST_CASE("every entry of a rollout has its line") {
  UtcZone utc;
  Story story(small_spec());
  CHECK(event(story) == "rollout r-20261120-120000-ab12 of storefront 1.1 to 5 hosts in 3 stages, by ana: new prices");
  story.say("stage.started", {{"stage", 1}, {"name", "one-each"}});
  CHECK(event(story) == "stage one-each started: 2 hosts");
  story.say("stage.baking", {{"stage", 0}});
  CHECK(event(story) == "stage canary bakes for 30m");
  story.say("stage.passed", {{"stage", 0}});
  CHECK(event(story) == "stage canary passed");
  story.say("host.staged", {{"host", "web-01"}, {"files", 1}, {"bytes", 5242880}});
  CHECK(event(story) == "web-01 staged 1.1 (1 file, 5.0 MiB)");
  story.say("host.confirmed", {{"host", "web-01"}, {"op", "o"}, {"step_ms", {{"a", 200}, {"b", 1000}}}});
  CHECK(event(story) == "web-01 confirmed 1.1 in 1.2s");
  story.say("host.unhealthy", {{"host", "web-01"}, {"reason", "gone"}});
  CHECK(event(story) == "web-01 unhealthy: gone");
  story.say("host.unknown", {{"host", "web-02"}, {"op", "o"}, {"reason", "silent"}});
  CHECK(event(story) == "web-02 unknown: silent");
  story.say("rollout.paused", {{"by", "person"}, {"why", "lunch"}});
  CHECK(event(story) == "paused by ana: lunch");
  story.say("rollout.paused", {{"by", "signal"}, {"why", "Ctrl-C"}});
  CHECK(event(story) == "paused by a signal: Ctrl-C");
  story.say("rollout.retried", {{"hosts", {"web-01", "web-02"}}});
  CHECK(event(story) == "retried by ana: web-[01:02]");
  story.say("rollout.aborted", {{"why", "bad"}});
  CHECK(event(story) == "aborted by ana: bad");
  story.say("something.new", {});
  CHECK(event(story) == "(nothing)");
}

TEST_CASE("the tree shows stages, hosts and reasons") {
  UtcZone utc;
  Story story(small_spec());
  story.say("stage.started", {{"stage", 0}, {"name", "canary"}});
  story.confirm("web-01");
  story.say("stage.passed", {{"stage", 0}});
  story.say("stage.started", {{"stage", 1}, {"name", "one-each"}});
  story.say("host.intent", {{"host", "web-02"}, {"op", "o"}, {"forward", true}, {"from", "1.0-0123456789ab"}, {"to", "1.1-ba9876543210"}});
  story.say("host.unreachable", {{"host", "fra-01"}, {"reason", "connect \x1b[31mtimed out\n"}, {"name", "connect_timeout"}});
  TreeOptions options;
  options.steps["web-02"] = "restarted";
  CHECK(joined(tree_lines(story.state(), story.now(), options)) ==
        "storefront 1.1: activating in stage one-each (1 of 5 hosts confirmed)\n"
        "\n"
        "  canary    1/1      passed\n"
        "    + web-01  confirmed\n"
        "  one-each  0/2      activating\n"
        "    > web-02  activating (restarted)\n"
        "    ? fra-01  unreachable: connect \\x1b[31mtimed out\\n\n"
        "  all       0/2      waiting, needs approval\n"
        "    . web-03  waiting\n"
        "    . web-04  waiting\n");

  SECTION("hosts are collapsed until it fits, what is in trouble last") {
    options.max_lines = 7;
    CHECK(joined(tree_lines(story.state(), story.now(), options)) ==
          "storefront 1.1: activating in stage one-each (1 of 5 hosts confirmed)\n"
          "\n"
          "  canary    1/1      passed\n"
          "  one-each  0/2      activating\n"
          "    ? fra-01  unreachable: connect \\x1b[31mtimed out\\n\n"
          "    > 1 activating: web-02\n"
          "  all       0/2      waiting, needs approval\n");
    options.max_lines = 5;
    auto lines = tree_lines(story.state(), story.now(), options);
    CHECK(lines.size() == 5);
    CHECK(lines[3] == "  one-each  0/2      activating, 1 unreachable, 1 activating");
  }
  SECTION("no line is wider than the terminal, colour or not") {
    options.width = 30;
    for (const auto& line : tree_lines(story.state(), story.now(), options)) CHECK(columns(line) <= 30);
    CHECK(tree_lines(story.state(), story.now(), options)[0] == "storefront 1.1: activating in~");
    options.style.color = true;
    CHECK(tree_lines(story.state(), story.now(), options)[0] == "\x1b[36mstorefront 1.1: activating in~\x1b[0m");
  }
}

TEST_CASE("two hundred hosts are runs of names") {
  auto spec = small_spec();
  spec.hosts.clear();
  for (int i = 1; i <= 200; ++i) {
    HostPlan h;
    h.name = fmt::format("web-{:03}", i);
    h.stage = 1;
    h.to = ReleaseId{"1.1", digest_of('m'), digest_of('t')};
    h.unchanged = i <= 150;
    spec.hosts.push_back(h);
  }
  Story story(spec);
  auto lines = tree_lines(story.state(), story.now(), {});
  CHECK(joined({lines.begin() + 2, lines.end()}) ==
        "  canary    0/0      waiting\n"
        "  one-each  150/200  waiting\n"
        "    . 50 waiting: web-[151:200]\n"
        "    + 150 confirmed: web-[001:150]\n"
        "  all       0/0      waiting, needs approval\n");
}

TEST_CASE("a rollout as JSON says what scripts need") {
  Story story(small_spec());
  story.say("stage.started", {{"stage", 0}, {"name", "canary"}});
  story.confirm("web-01");
  story.say("stage.baking", {{"stage", 0}});
  auto o = rollout_json(story.state(), runner_until(story.now() + Millis(1000)), Exit::waiting, story.now());
  CHECK(o.at("outcome") == "open");
  CHECK(o.at("waiting") == "bake");
  CHECK(o.at("exit") == 6);
  CHECK(o.at("stage") == "canary");
  CHECK(o.at("ended").is_null());
  CHECK(o.at("stages").as_array().at(0).as_object().at("bake_until") == "2026-11-20T12:30:06.000Z");
  CHECK(o.at("hosts").as_array().size() == 5);
  CHECK(o.at("hosts").as_array().at(0).as_object().at("phase") == "confirmed");
  CHECK(o.at("hosts").as_array().at(1).as_object().at("stage") == "one-each");
  CHECK(o.at("runner").as_object().at("who") == "ana");
  CHECK(o.at("owed").as_array().size() == 4);
}

TEST_CASE("a holder is known to be gone only when that is sure") {
  auto own = holder_of_this_process();
  auto parts = split(own, '-');
  REQUIRE(parts.size() == 5);
  CHECK_FALSE(holder_is_gone(own));
  CHECK(own != holder_of_this_process());
  auto with = [&](std::size_t i, std::string value) {
    auto p = parts;
    p[i] = value;
    return join(p, "-");
  };
  CHECK(holder_is_gone(with(3, "1")));         // that number is another process now
  CHECK(holder_is_gone(with(2, "4194303")));   // nobody has it
  CHECK_FALSE(holder_is_gone(with(0, "00000000")));
  CHECK_FALSE(holder_is_gone(with(1, "1")));
  CHECK_FALSE(holder_is_gone(with(2, "x")));
  CHECK_FALSE(holder_is_gone("f00dfeedf00dfeed"));
  CHECK_FALSE(holder_is_gone(""));
}
