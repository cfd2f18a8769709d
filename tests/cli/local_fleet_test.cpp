// The built program on a local fleet: what a person does on the first day, with real processes.
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>

#include "core/base/clock.hpp"
#include "core/base/files.hpp"
#include "core/base/json.hpp"
#include "core/base/process.hpp"
#include "tests/cli/demo.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

std::vector<std::string> lines_of(const std::string& text) {
  auto lines = split(text, '\n');
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  return lines;
}

}  // namespace

TEST_CASE("the first day: init, plan, apply, again, a second version, a broken third, the cord") {
  Demo demo;

  auto unconfirmed = demo.ripcord({"apply", "hello/"});
  CHECK(unconfirmed.exit == 8);
  CHECK(unconfirmed.output.find("say -y to go on without a question; nothing was changed") != std::string::npos);

  auto plan = demo.ripcord({"plan", "hello", "--detailed-exitcode"});
  INFO(plan.output);
  CHECK(plan.exit == 2);
  CHECK(plan.output.find("hello@1.0 to 3 hosts of fleet demo in 2 stages") != std::string::npos);

  auto first = demo.ripcord({"apply", "hello", "-y", "-m", "first", "-o", "jsonl"});
  INFO(first.output);
  REQUIRE(first.exit == 0);
  auto lines = lines_of(first.output);
  REQUIRE(lines.size() > 10);
  CHECK(lines.front() == "{\"ripcord\":\"" RIPCORD_VERSION "\",\"format\":1}");
  auto started = parse_json_object(lines[1], "started");
  CHECK(started.at("kind") == "rollout.started");
  CHECK(started.at("who") == "ana");
  auto end = parse_json_object(lines.back(), "end");
  CHECK(end.at("kind") == "rollout.end");
  CHECK(end.at("exit") == 0);
  CHECK(end.at("outcome") == "completed");

  for (auto words : {std::vector<std::string>{"reconcile", "helo"}, {"adopt", "helo", "-m", "x"}}) {
    auto nobody = demo.ripcord(words);
    CHECK(nobody.exit == 8);
    CHECK(nobody.output.find("nobody knows a unit 'helo'") != std::string::npos);
  }

  auto again = demo.ripcord({"apply", "hello@1.0", "-y"});
  CHECK(again.exit == 0);
  CHECK(again.output == "nothing to do: 3 hosts run hello@1.0\n");

  demo.replace("hello/unit.yaml", "\"1.0\"", "\"1.1\"");
  demo.replace("hello/config/common/hello.conf.tmpl", "Hello from", "Good morning from");
  auto saved = demo.ripcord({"plan", "hello/", "--save", "next.plan"});
  INFO(saved.output);
  REQUIRE(saved.exit == 0);
  auto second = demo.ripcord({"apply", "next.plan", "-y"});
  INFO(second.output);
  REQUIRE(second.exit == 0);
  CHECK(second.output.find(" web-01 confirmed 1.1") != std::string::npos);
  CHECK(second.output.find("hello 1.1: completed at ") != std::string::npos);
  auto stale = demo.ripcord({"apply", "next.plan", "-y"});
  CHECK(stale.exit == 8);
  CHECK(stale.output.find("the plan is stale: ") != std::string::npos);

  demo.replace("hello/unit.yaml", "\"1.1\"", "\"1.2\"");
  demo.replace("hello/unit.yaml", "healthy_deadline: 20s", "healthy_deadline: 3s");
  demo.replace("hello/code/bin/check", "read -r alive", "echo refused >&2; exit 7; read -r alive");
  auto broken = demo.ripcord({"apply", "./hello", "-y"});
  INFO(broken.output);
  CHECK(broken.exit == 3);
  CHECK(broken.output.find("hello 1.2: rolled back at ") != std::string::npos);
  auto status = demo.ripcord({"status"});
  CHECK(status.exit == 3);
  CHECK(status.output.starts_with("hello 1.2: rolled back at "));
  auto logs = demo.ripcord({"logs", "hello"});
  CHECK(logs.output.find("refused") != std::string::npos);

  auto hosts = demo.ripcord({"hosts", "-o", "json"});
  INFO(hosts.output);
  CHECK(hosts.exit == 0);
  const auto told = parse_json_object(hosts.output, "hosts");
  for (const auto& host : told.at("hosts").as_array())
    CHECK(host.as_object().at("running").as_object().at("hello").as_object().at("version") == "1.1");

  auto dry = demo.ripcord({"rollback", "hello", "--to", "1.0", "--dry-run"});
  CHECK(dry.exit == 0);
  CHECK(dry.output.find("3 hosts would return; nothing was changed") != std::string::npos);
  auto back = demo.ripcord({"rollback", "hello", "--to", "1.0", "-y", "-m", "numbers fell"});
  INFO(back.output);
  CHECK(back.exit == 0);
  CHECK(back.output.find("3 hosts returned") != std::string::npos);
  auto twice = demo.ripcord({"rollback", "hello", "--to", "1.0", "-y"});
  CHECK(twice.exit == 0);
  CHECK(twice.output.find("0 hosts returned") != std::string::npos);

  auto history = demo.ripcord({"history"});
  CHECK(history.output.find("rollout of hello@1.0 to 3 hosts started: first") != std::string::npos);
  CHECK(history.output.find("numbers fell") != std::string::npos);
}

TEST_CASE("a signal pauses, resume finishes, and no-wait leaves at a bake") {
  Demo demo;
  demo.replace("plans/hello.yaml", "bake: 3s", "bake: 30s");
  auto left = demo.ripcord({"apply", "hello/", "-y", "--no-wait"});
  INFO(left.output);
  CHECK(left.exit == 6);
  CHECK(left.output.find("hello 1.0: baking in stage canary until ") != std::string::npos);

  auto blocked = demo.ripcord({"apply", "hello", "-y"});
  CHECK(blocked.exit == 7);
  CHECK(blocked.output.starts_with("ripcord: error: unit 'hello' has an open rollout: hello 1.0: baking in stage canary until "));
  CHECK(demo.ripcord({"resume", "--due"}).exit == 6);

  // The test stands in for a person at a terminal.
  auto child = Demo::command(demo.folder, {"resume", "hello"});
  auto log = demo.dir / "resume.log";
  auto id = start_detached(child, log);
  Elapsed until = boot_now() + Millis(20000);
  while (boot_now() < until && demo.ripcord({"status"}).output.find("run by   ana on ") == std::string::npos) ::usleep(50000);
  ::kill(id.pid, SIGTERM);
  std::optional<ProcessEnd> ended;
  while (boot_now() < until && !(ended = reap(id.pid))) ::usleep(20000);
  REQUIRE(ended);
  CHECK(ended->exit == 143);
  CHECK(read_file(log).find("next: ripcord resume hello") != std::string::npos);
  auto paused = demo.ripcord({"status"});
  CHECK(paused.exit == 6);
  CHECK(paused.output.starts_with("hello 1.0: paused in stage canary by a signal: SIGTERM"));

  CHECK(demo.ripcord({"promote", "hello"}).exit == 0);
  auto done = demo.ripcord({"resume", "hello", "-m", "go on"});
  INFO(done.output);
  CHECK(done.exit == 0);
  CHECK(done.output.find("hello 1.0: completed at ") != std::string::npos);
}

TEST_CASE("an abort without a running process brings every touched host back") {
  Demo demo;
  REQUIRE(demo.ripcord({"apply", "hello/", "-y", "--no-wait"}).exit == 6);
  auto aborted = demo.ripcord({"abort", "hello", "-m", "second thoughts"});
  INFO(aborted.output);
  CHECK(aborted.exit == 3);
  CHECK(aborted.output.find("hello 1.0: rolled back at ") != std::string::npos);
  auto hosts = demo.ripcord({"hosts", "-o", "json"});
  const auto told = parse_json_object(hosts.output, "hosts");
  for (const auto& host : told.at("hosts").as_array())
    CHECK(host.as_object().at("running").as_object().at("hello").is_null());
}

TEST_CASE("rollback works when the ledger cannot be opened") {
  Demo demo;
  REQUIRE(demo.ripcord({"apply", "hello/", "-y"}).exit == 0);
  auto ledger = demo.folder + "/.ripcord/ledger.db";
  write_file_durable(ledger, "this is not a database, it is a sad file of more than one hundred bytes so that it is read as one, and fails", 0600);
  auto back = demo.ripcord({"rollback", "hello", "-y"});
  INFO(back.output);
  CHECK(back.exit == 0);
  CHECK(back.output.find("ripcord: warning: going on without the ledger") != std::string::npos);
  CHECK(back.output.find("3 hosts returned") != std::string::npos);
  CHECK(exists(demo.folder + "/.ripcord/spool"));
}
