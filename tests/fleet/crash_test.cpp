// One way to stop and one way to start: signals, kills, another machine, a process without a terminal, a controller that stood still,
// two operators, two ledgers.
#include <signal.h>
#include <stdlib.h>

#include <random>

#include "core/base/files.hpp"
#include "tests/support/campaign.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/fleet_run.hpp"
#include "tests/support/local_run.hpp"

using namespace ripcord;
using namespace ripcord::test;

TEST_CASE("SIGTERM and SIGHUP pause cleanly and name the command that goes on: 143, 129", "[crash]") {
  LocalRun fleet(6, 1, Millis(200));
  fleet.write_unit("1.0");
  int begun = 0;
  for (auto [signal, exit] : {std::pair(SIGTERM, 143), std::pair(SIGHUP, 129)}) {
    auto words = begun == 0 ? std::vector<std::string>{"apply", "app-1.0/", "-y"} : std::vector<std::string>{"resume", "app"};
    auto id = fleet.start(words, "out.log");
    REQUIRE(eventually([&] { return fleet.count("INTENT") >= begun + 2; }));
    ::kill(id.pid, signal);
    auto end = LocalRun::wait(id);
    INFO(fleet.output("out.log"));
    CHECK(end.exit == exit);
    CHECK(fleet.output("out.log").find("next: ripcord resume app") != std::string::npos);
    begun = fleet.count("INTENT");
    CHECK(fleet.count("CONFIRMED") == begun);
    CHECK(begun < 6);
  }
  CHECK(fleet.ripcord({"resume", "app"}).exit == 0);
  CHECK(fleet.all_run("1.0"));
  CHECK(fleet.most_activated() == "");
}

TEST_CASE("resume works from another machine, which has nothing of the release: hosts that hold it give it", "[crash]") {
  LocalRun fleet(6, 1, Millis(200));
  fleet.write_unit("1.0");
  fleet.write_plan("unit: app\nstages:\n  - {name: first, hosts: 3, max_parallel: 1}\n  - {name: rest, hosts: rest, max_parallel: 1}\n");
  auto id = fleet.start({"apply", "app-1.0/", "-y", "-m", "first"}, "out.log");
  REQUIRE(eventually([&] { return fleet.count("INTENT") >= 2; }));
  ::kill(id.pid, SIGKILL);
  LocalRun::wait(id);
  auto other = fleet.second_machine();
  auto resumed = fleet.ripcord({"resume", "app"}, other);
  INFO(resumed.output);
  CHECK(resumed.exit == 0);
  CHECK(says(resumed, "app@1.0 is not sealed here: it is brought from the hosts that hold it"));
  CHECK(fleet.all_run("1.0"));
  CHECK(fleet.most_activated() == "");
  auto history = fleet.ripcord({"history"});
  INFO(history.output);
  CHECK(says(history, "taken over from ana on "));
  CHECK(says(history, ": its process has ended"));
}

TEST_CASE("--detach: the rollout goes on without the terminal, status -w attaches", "[crash]") {
  LocalRun fleet(4, 1, Millis(200));
  fleet.write_unit("1.0");
  auto apply = fleet.ripcord({"apply", "app-1.0/", "-y", "--detach", "-q"});
  INFO(apply.output);
  CHECK(apply.exit == 6);
  CHECK(says(apply, " goes on without this terminal, as process "));
  CHECK_FALSE(says(apply, "ssh-agent"));
  auto again = fleet.ripcord({"apply", "app@1.0", "-y"});
  CHECK(again.exit == 7);
  auto watched = fleet.ripcord({"status", "-w"});
  INFO(watched.output);
  CHECK(watched.exit == 0);
  CHECK(says(watched, "app 1.0: completed at "));
  CHECK(fleet.all_run("1.0"));
  CHECK(fleet.count("ACTIVATED") == 4);
}

TEST_CASE("a holder that was stopped, taken over and continued does nothing", "[lease]") {
  LocalRun fleet(8, 1, Millis(200));
  fleet.write_unit("1.0");
  auto id = fleet.start({"apply", "app-1.0/", "-y", "-m", "first"}, "out.log");
  REQUIRE(eventually([&] { return fleet.count("INTENT") >= 2; }));
  ::kill(id.pid, SIGSTOP);
  auto other = fleet.second_machine();
  auto held = fleet.ripcord({"resume", "app"}, other);
  INFO(held.output);
  CHECK(held.exit == 7);
  CHECK(says(held, "it is running: ana on "));
  auto taken = fleet.ripcord({"resume", "app", "--take-over"}, other);
  INFO(taken.output);
  CHECK(taken.exit == 0);
  CHECK(fleet.all_run("1.0"));
  std::vector<std::size_t> before;
  for (const auto& host : fleet.names()) before.push_back(fleet.journal(host).size());
  ::kill(id.pid, SIGCONT);
  auto end = LocalRun::wait(id);
  INFO(fleet.output("out.log"));
  CHECK(end.exit == 7);
  for (std::size_t i = 0; i < fleet.names().size(); ++i) CHECK(fleet.journal(fleet.names()[i]).size() == before[i]);
  CHECK(fleet.most_activated() == "");
  CHECK(says(fleet.ripcord({"history"}), "taken over from ana on "));
}

TEST_CASE("two operators at once, many times: one change after the other, never both", "[lease]") {
  const bool full = long_campaign();
  LocalRun fleet(2, 2, Millis(0));
  auto other = fleet.second_machine();
  for (const char* version : {"1.0", "2.0"}) {
    fleet.write_unit(version);
    REQUIRE(fleet.ripcord({"seal", std::string("app-") + version}).exit == 0);
    REQUIRE(fleet.ripcord({"seal", fleet.folder() + "/app-" + version}, other).exit == 0);
  }
  std::mt19937 random(full ? static_cast<unsigned>(boot_now().us) : 7);
  const int rounds = full ? 100 : 12;
  int held = 0, both = 0;
  for (int round = 0; round < rounds; ++round) {
    auto a = fleet.start({"apply", "app@1.0", "-y", "-q"}, "a.log");
    ::usleep(random() % 60000);
    auto b = fleet.start({"apply", "app@2.0", "-y", "-q"}, "b.log", other);
    auto end_a = LocalRun::wait(a), end_b = LocalRun::wait(b);
    INFO("round " << round << "\n" << fleet.output("a.log") << "\n" << fleet.output("b.log"));
    for (int exit : {end_a.exit, end_b.exit}) CHECK((exit == 0 || exit == 7));
    CHECK((end_a.exit == 0 || end_b.exit == 0));
    held += (end_a.exit == 7) + (end_b.exit == 7);
    both += end_a.exit == 0 && end_b.exit == 0;
    CHECK(fleet.version("n-001") == fleet.version("n-002"));
    std::remove((fleet.folder() + "/a.log").c_str());
    std::remove((fleet.folder() + "/b.log").c_str());
  }
  CHECK(held > 0);  // else the rounds proved nothing
  CHECK(fleet.most_activated() == "");
  auto history = parse_json_object(fleet.ripcord({"history", "--all", "-o", "json"}).output, "history");
  std::string open;
  for (const auto& line : history.at("history").as_array()) {
    auto kind = get_string(line.as_object(), "kind"), rollout = get_string(line.as_object(), "rollout");
    if (kind == "rollout.started") {
      CHECK(open.empty());
      open = rollout;
    } else if (kind == "rollout.ended") {
      CHECK(open == rollout);
      open.clear();
    }
  }
  CHECK(open.empty());
}

TEST_CASE("a second ledger is noticed through the hosts, names the first one's machine, and goes forward only after adopt", "[lease]") {
  LocalRun fleet(3, 3);
  fleet.write_unit("1.0");
  fleet.write_unit("1.1");
  REQUIRE(fleet.ripcord({"apply", "app-1.0/", "-y"}).exit == 0);
  auto other = fleet.second_machine();
  auto text = read_file(other + "/fleet.yaml");
  auto at = text.find("ledger: ");
  text.erase(at, text.find('\n', at) + 1 - at);  // its own, beside the file
  write_file_durable(other + "/fleet.yaml", text, 0644);
  char name[256] = {};
  ::gethostname(name, sizeof name - 1);

  auto refused = fleet.ripcord({"apply", fleet.folder() + "/app-1.1", "-y"}, other);
  INFO(refused.output);
  CHECK(refused.exit == 7);
  CHECK(says(refused, std::string("unit 'app' of this host belongs to the ledger of machine '") + name + "' (id "));
  CHECK(fleet.all_run("1.0"));
  CHECK(fleet.ripcord({"adopt", "app", "-y"}, other).exit == 64);
  auto adopted = fleet.ripcord({"adopt", "app", "-y", "-m", "we moved"}, other);
  INFO(adopted.output);
  CHECK(adopted.exit == 0);
  CHECK(says(adopted, "unit 'app' belongs to this ledger now on n-[001:003]\n"));
  auto applied = fleet.ripcord({"apply", "app@1.1", "-y"}, other);
  INFO(applied.output);
  CHECK(applied.exit == 0);
  CHECK(fleet.all_run("1.1"));
  fleet.write_unit("1.2");
  auto first = fleet.ripcord({"apply", "app-1.2/", "-y"});
  INFO(first.output);
  CHECK(first.exit == 7);
  CHECK(says(fleet.ripcord({"history"}, other), "unit app adopted on 3 hosts: we moved"));
}

TEST_CASE("credentials that go away are the controller's fault: the rollout pauses, and no host is counted", "[crash]") {
  FleetRun fleet({.hosts = 3});
  fleet.write_plan("unit: web\nstages:\n  - {name: all, hosts: rest, max_parallel: 1}\nwindow: none\n");
  WebUnit unit;
  unit.health = "  interval: 100ms\n  min_healthy_time: 1500ms\n  healthy_deadline: 20s\n";
  fleet.write_unit("web", unit);
  // The fleet file names no key: those of the agent are tried, as ssh would.
  auto yaml = read_file(fleet.folder() + "/fleet.yaml");
  auto at = yaml.find(", identity: "), end = yaml.find(',', at + 2);
  auto without = yaml;
  without.erase(at, end - at);
  fleet.write("fleet.yaml", without);
  const std::string socket = fleet.folder() + "/agent";
  Command start;
  start.argv = {"ssh-agent", "-D", "-a", socket};
  auto agent = start_detached(start, "");
  REQUIRE(eventually([&] { return exists(socket); }));
  Command add;
  add.argv = {"ssh-add", fleet.hosts.identity()};
  add.env = std::vector<std::string>{"PATH=/usr/bin:/bin", "SSH_AUTH_SOCK=" + socket};
  REQUIRE(run_process(add, Millis(20000)).ok());

  auto apply = fleet.command({"apply", "web/", "-y"});
  apply.env->push_back("SSH_AUTH_SOCK=" + socket);
  auto id = start_detached(apply, fleet.folder() + "/apply.log");
  REQUIRE(eventually([&] { return fleet.count(1, "INTENT") + fleet.count(2, "INTENT") + fleet.count(3, "INTENT") >= 1; }));
  ::kill(agent.pid, SIGKILL);
  reap(agent.pid);
  auto ended = FleetRun::wait(id);
  INFO(fleet.output("apply.log"));
  CHECK(ended.exit == 6);
  CHECK(fleet.output("apply.log").find("paused by policy: ") != std::string::npos);
  CHECK(fleet.output("apply.log").find("ssh-agent") != std::string::npos);
  auto status = fleet.ripcord({"status", "-o", "json"});
  CHECK(says(status, "\"failures\":0"));
  CHECK_FALSE(says(status, "\"phase\":\"unreachable\""));

  fleet.write("fleet.yaml", yaml);  // credentials are back
  auto resumed = fleet.ripcord({"resume", "web"});
  INFO(resumed.output);
  CHECK(resumed.exit == 0);
  CHECK(fleet.all_run("1.0"));
}
