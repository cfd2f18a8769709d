#include "cli/output.hpp"

#include <sstream>

#include "cli/view/plan_words.hpp"
#include "cli/view/style.hpp"
#include "cli/view/view.hpp"
#include "tests/cli/rollout_fixture.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;
using namespace ripcord::cli;
using namespace ripcord::test;

namespace {

struct Sink {
  std::istringstream in;
  std::ostringstream out, err;
  Output output{{in, out, err}};
};

}  // namespace

TEST_CASE("hostile bytes reach a terminal as visible text only") {
  Line line;
  line.add("a\x1b]0;owned\x07" "b\r\n\xff", Tone::bad);
  CHECK(line.render({}) == "a\\x1b]0;owned\\x07b\\r\\n\\xff");
  CHECK(line.render({true, false}) == "\x1b[31ma\\x1b]0;owned\\x07b\\r\\n\\xff\x1b[0m");

  Sink sink;
  sink.output.error(Error("host said \x1b[2J\nripcord: error: fake", "do \x9b this"));
  CHECK(sink.err.str() == "ripcord: error: host said \\x1b[2J\\nripcord: error: fake\n  hint: do \\x9b this\n");
}

TEST_CASE("JSON lines hold no invisible character") {
  json::object o{{"text", "\x7f\xc2\x9b\xe2\x80\xae\xc3\xa9\x1b"}};
  auto line = json_line(json::value(o));
  CHECK(line == "{\"text\":\"\\u007f\\u009b\\u202e\xc3\xa9\\u001b\"}");
  CHECK(parse_json(line, "line") == json::value(o));
  CHECK(json_line(std::string_view("{\"a\":\"\xff\"}")) == "{\"a\":\"\\ufffd\"}");
}

TEST_CASE("errors are words on stderr, and an object on stdout when that is JSON") {
  Sink sink;
  sink.output.format = cli::Format::json;
  sink.output.error(Error("no", "try", Exit::held));
  CHECK(sink.err.str() == "ripcord: error: no\n  hint: try\n");
  CHECK(sink.out.str() == "{\"error\":{\"what\":\"no\",\"hint\":\"try\",\"exit\":7}}\n");

  Sink files;
  files.output.error(Error("fleet.yaml:1:1: a\n   1 | x\nfleet.yaml:2:1: b", "", Exit::invalid_file));
  CHECK(files.err.str() == "ripcord: error: fleet.yaml:1:1: a\n   1 | x\nfleet.yaml:2:1: b\n");
}

TEST_CASE("lists are one object in json and a line each in jsonl") {
  json::array items{json::object{{"host", "a"}}, json::object{{"host", "b"}}};
  Sink json_sink;
  json_sink.output.format = cli::Format::json;
  json_sink.output.print_list("hosts", items);
  CHECK(json_sink.out.str() == "{\"hosts\":[{\"host\":\"a\"},{\"host\":\"b\"}]}\n");
  Sink lines;
  lines.output.format = cli::Format::jsonl;
  lines.output.print_list("hosts", items);
  CHECK(lines.out.str() == "{\"ripcord\":\"" RIPCORD_VERSION "\",\"format\":1}\n{\"host\":\"a\"}\n{\"host\":\"b\"}\n");
}

TEST_CASE("quiet drops notes, never warnings and errors") {
  Sink sink;
  sink.output.quiet = true;
  sink.output.note("n");
  sink.output.warn("w");
  sink.output.error(Error("e"));
  CHECK(sink.err.str() == "ripcord: warning: w\nripcord: error: e\n");
}

TEST_CASE("tables align, and cut nothing") {
  Table table({"HOST", "RUNS", "STATE"});
  table.row({{"web-01"}, {"1.1", Tone::good}, {"ok"}});
  table.row({{"a"}, {"nothing"}, {"\x1b"}});
  CHECK(joined(table.render({})) == "HOST    RUNS     STATE\nweb-01  1.1      ok\na       nothing  \\x1b\n");
}

TEST_CASE("text is cut by columns, not by bytes") {
  CHECK(columns("h\xc3\xa9") == 2);
  CHECK(columns("\xe6\x97\xa5") == 2);
  CHECK(columns("\xe2\x9c\x93") == 1);
  CHECK(cut_to("abcdef", 6) == "abcdef");
  CHECK(cut_to("abcdefg", 6) == "abcde~");
  CHECK(cut_to("\xe6\x97\xa5\xe6\x97\xa5\xe6\x97\xa5", 4) == "\xe6\x97\xa5~");
  CHECK(cut_to("abc", 0) == "");
}

TEST_CASE("the plain view is one line an event and ends with the verdict") {
  UtcZone utc;
  Sink sink;
  ManualClock clock(kNoon);
  auto view = make_plain_view(sink.output, clock);
  Story story(small_spec());
  auto hear = [&] { view->on_entry(story.entries().back(), story.state()); };
  hear();
  story.say("stage.started", {{"stage", 0}, {"name", "canary"}});
  hear();
  story.say("host.confirmed", {{"host", "web-01"}, {"op", "o"}, {"step_ms", {{"a", 1200}}}});
  hear();
  story.say("host.failed", {{"host", "web-02"}, {"failed_step", "health"}, {"reason", "500\nweb-03 confirmed"}});
  hear();
  view->finish(story.state(), {}, Exit::waiting, story.now());
  CHECK(sink.out.str() ==
        "12:00:01 rollout r-20261120-120000-ab12 of storefront 1.1 to 5 hosts in 3 stages, by ana: new prices\n"
        "12:00:02 stage canary started: 1 host\n"
        "12:00:03 web-01 confirmed 1.1 in 1.2s\n"
        "12:00:04 web-02 failed at health: 500\\nweb-03 confirmed\n"
        "storefront 1.1: activating in stage canary (1 of 5 hosts confirmed)\n");
  CHECK(sink.err.str() ==
        "  next: ripcord logs storefront  (shows the output of what failed)\n"
        "  next: ripcord resume storefront  (goes on: no process runs this rollout)\n");
}

TEST_CASE("the jsonl view passes entries on as they are stored, between a version line and the end") {
  Sink sink;
  sink.output.format = cli::Format::jsonl;
  auto view = make_jsonl_view(sink.output);
  Story story(small_spec());
  view->on_entry(story.entries().back(), story.state());
  story.say("rollout.ended", {{"outcome", "completed"}, {"exit", 4}, {"owed", {"web-01"}}});
  view->on_entry(story.entries().back(), story.state());
  view->finish(story.state(), {}, Exit::unreachable, story.now());
  auto lines = split(sink.out.str(), '\n');
  REQUIRE(lines.size() == 5);
  CHECK(lines[0] == "{\"ripcord\":\"" RIPCORD_VERSION "\",\"format\":1}");
  CHECK(lines[1] == story.entries()[0].line);
  CHECK(lines[2] == story.entries()[1].line);
  auto end = parse_json_object(lines[3], "end");
  CHECK(end.at("kind") == "rollout.end");
  CHECK(end.at("exit") == 4);
  CHECK(end.at("outcome") == "completed");
  CHECK(lines[4] == "");
}

TEST_CASE("the live view redraws at most ten times a second and gives the cursor back") {
  UtcZone utc;
  Sink sink;
  ManualClock clock(kNoon);
  Story story(small_spec());
  {
    auto view = make_live_view(sink.output, clock);
    for (int i = 0; i < 50; ++i) {
      view->on_entry(story.entries().back(), story.state());
      clock.advance(Millis(2));
    }
    view->on_step("web-01", "staging");
    clock.advance(Millis(100));
    auto text = sink.out.str();
    std::size_t frames = 0;
    for (std::size_t at = 0; (at = text.find("\x1b[J", at)) != text.npos; ++at) ++frames;
    CHECK(frames >= 2);
    CHECK(frames <= 3);
    CHECK(text.starts_with("\x1b[?25l\rstorefront 1.1: "));
    CHECK(text.find("web-01  waiting (staging)") != text.npos);
    CHECK(text.find("\x1b[?25h") == text.npos);
  }
  CHECK(sink.out.str().ends_with("\x1b[?25h"));
}

TEST_CASE("a plan in words names stages, hosts, budgets and ways back") {
  UtcZone utc;
  Preflight p;
  p.spec = small_spec();
  ChangeGroup g;
  g.from = "storefront@1.0";
  g.to = "storefront@1.1";
  g.hosts = {"web-01", "web-02", "web-03", "fra-01"};
  g.files_changed = 3;
  g.files_added = 1;
  g.bytes = 5242880;
  g.restarts = {"server"};
  p.groups.push_back(g);
  p.no_way_back = {"web-04"};
  p.bytes_to_send = 4 * g.bytes;
  p.estimated = Millis(1860000);
  CHECK(joined(plan_lines(p, "ladder", kNoon, {})) ==
        "storefront@1.1 to 5 hosts of fleet demo in 3 stages\n"
        "\n"
        "  canary    1 host     then bakes 30m\n"
        "            web-01\n"
        "  one-each  2 hosts    2 at once, starting slowly\n"
        "            web-02, fra-01\n"
        "  all       2 hosts    2 at once, starting slowly, needs approval\n"
        "            web-[03:04]\n"
        "\n"
        "storefront@1.0 -> storefront@1.1 on 4 hosts\n"
        "  3 files changed, 1 added, 0 removed; at most 5.0 MiB to each; restarts server\n"
        "  web-[01:03], fra-01\n"
        "\n"
        "plan        ladder\n"
        "budgets     stops at the 1st failed host; 1 of 5 may be unreachable\n"
        "on failure  goes back on every host it touched\n"
        "dead-man    a host not confirmed within 5m20s goes back by itself\n"
        "window      any time\n"
        "sends       at most 20.0 MiB in all, before compression\n"
        "takes       about 31m\n"
        "no way back web-04: nothing runs there yet; going back means stopping it\n");
  auto o = plan_json(p, "ladder", kNoon);
  CHECK(o.at("stages").as_array().at(2).as_object().at("approval") == true);
  CHECK(o.at("changes").as_array().at(0).as_object().at("files_changed") == 3u);
  CHECK(o.at("budgets") == "stops at the 1st failed host; 1 of 5 may be unreachable");
  CHECK(o.at("no_way_back").as_array().size() == 1);
}
