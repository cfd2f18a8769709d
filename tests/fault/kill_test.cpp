// Kills at random moments: of the controller, of the helpers on the hosts, of both. `resume` ends in the state of the run that nobody
// disturbed, and no host activates an operation twice (promises 2, 4, 9, 11).
#include <fmt/format.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <random>

#include "core/base/clock.hpp"
#include "core/base/files.hpp"
#include "tests/support/campaign.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/fleet_run.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

// What the ledger says of each host: the newest entry kind.
json::object status(const FleetRun& fleet) {
  auto s = fleet.ripcord({"status", "web", "-o", "json"});
  auto end = s.output.find('\n');
  return parse_json_object(s.output.substr(0, end), "status");
}

struct Campaign {
  FleetRun fleet{{.hosts = 4}};
  std::mt19937 random;
  int release = 0;
  Millis usual{0};
  std::map<std::string, int> outcomes;

  explicit Campaign(unsigned seed) : random(seed) {
    fleet.write_plan(
        "unit: web\nstages:\n  - {name: canary, hosts: 1, bake: 300ms}\n  - {name: rest, hosts: rest, max_parallel: 2, slow_start: false}\n"
        "window: none\nmax_failures: 2\nmax_unreachable: 4\n");
  }
  std::string next() {
    WebUnit unit;
    unit.version = fmt::format("{}.0", ++release);
    unit.health = "  interval: 50ms\n  min_healthy_time: 200ms\n  healthy_deadline: 20s\n";
    fleet.write_unit("web-" + unit.version, unit);
    return unit.version;
  }
  int in(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); }

  // Left alone. How long the last of these took is the range of the moments: the first one also pushes the helper.
  void undisturbed() {
    auto version = next();
    auto begun = boot_now();
    auto run = fleet.ripcord({"apply", "web-" + version + "/", "-y"});
    usual = boot_now() - begun;
    INFO(run.output);
    REQUIRE(run.exit == 0);
    REQUIRE(fleet.all_run(version));
  }

  void check(const std::string& version, bool converged) {
    CHECK(fleet.all_run(version));
    auto s = status(fleet);
    CHECK(s.at("outcome") == "completed");
    CHECK(s.at("exit") == 0);
    for (const auto& h : s.at("hosts").as_array())
      if (!converged) CHECK(h.as_object().at("phase") == "confirmed");
    for (int i = 1; i <= fleet.size(); ++i) {
      CHECK(fleet.most_activated(i) == "");
      CHECK_FALSE(exists(fleet.hosts.seen(i, "/var/lib/ripcord/units/web/pending")));
      // The newest release was activated once and confirmed once, on every host.
      int activated = 0;
      std::string op;
      for (const auto& r : fleet.journal(i)) {
        if (get_string(r, "kind") == "INTENT") {  // a rehearsal goes forward twice, by two operations
          op = get_string(get_object(r, "to"), "version") == version ? get_string(r, "op") : "";
          activated = 0;
        }
        if (get_string(r, "kind") == "ACTIVATED" && !op.empty() && get_string(r, "op") == op) ++activated;
      }
      CHECK(activated == 1);
    }
  }

  void disturbed(bool controller, bool helpers) {
    auto version = next();
    auto id = fleet.start({"apply", "web-" + version + "/", "-y"}, "apply.log");
    ::usleep(static_cast<useconds_t>(in(0, static_cast<int>(usual.count() * 900))));
    int helpers_killed = 0;
    if (controller) ::kill(id.pid, SIGKILL);
    if (helpers)
      for (int i = 1; i <= fleet.size(); ++i) helpers_killed += fleet.kill_helpers(i);
    auto end = FleetRun::wait(id);
    INFO("release " << version << ", " << end.text() << ", " << helpers_killed << " helpers killed\n" << fleet.output("apply.log"));
    std::remove((fleet.folder() + "/apply.log").c_str());
    std::string outcome;
    bool converged = false;
    int switched = 0;
    for (int i = 1; i <= fleet.size(); ++i) switched += fleet.version(i) == version;
    auto now = fleet.ripcord({"status", "web", "-o", "json"});
    bool ours = now.output.find("\"version\":\"" + version + "\"") != now.output.npos;
    if (!ours) {
      outcome = "before the rollout began";
      CHECK(switched == 0);
      auto again = fleet.ripcord({"apply", "web-" + version + "/", "-y"});
      INFO(again.output);
      CHECK(again.exit == 0);
    } else if (now.exit == 0) {
      outcome = helpers_killed > 0 ? "helpers killed, finished by itself" : "after its end";
    } else {
      outcome = switched == 0 ? "nobody switched" : switched < fleet.size() ? "some switched" : "all switched";
      if (helpers_killed > 0) outcome += ", helpers killed";
      // Hosts whose helper died while the plan was made may be owed; everything else is open.
      converged = status(fleet).at("outcome") != "open";
      auto resumed = fleet.ripcord(!converged ? std::vector<std::string>{"resume", "web"} : std::vector<std::string>{"converge", "--unit", "web", "-m", "test", "-y"});
      INFO(resumed.output);
      CHECK(resumed.exit == 0);
    }
    ++outcomes[outcome];
    check(version, converged);
  }
};

}  // namespace

TEST_CASE("SIGKILL at random moments: resume ends where the undisturbed run would have") {
  const unsigned seed = long_campaign() ? static_cast<unsigned>(boot_now().us) : 20261121;
  Campaign campaign(seed);
  INFO("seed " << seed);
  campaign.undisturbed();
  campaign.undisturbed();
  const int rounds = long_campaign() ? 60 : 12;
  for (int i = 0; i < rounds; ++i) campaign.disturbed(i % 3 != 1, i % 3 != 0);
  std::string line = fmt::format("kills: {} rounds, seed {}", rounds, seed);
  int interrupted = 0, helpers = 0;
  for (const auto& [outcome, n] : campaign.outcomes) {
    line += fmt::format("; {} {}", n, outcome);
    if (outcome.find("switched") != outcome.npos) interrupted += n;
    if (outcome.find("helpers killed") != outcome.npos) helpers += n;
  }
  total(line);
  INFO(line);
  CHECK(interrupted >= rounds / 4);
  CHECK(helpers >= rounds / 6);
}
