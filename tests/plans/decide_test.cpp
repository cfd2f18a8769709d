// What is decided between two instants of the engine: a host's task and its ledger entries do not begin and end together.
#include "plans/rollout/decide.hpp"

#include "tests/plans/world.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

// A rollout as its entries tell it, without an engine. The way back is waived.
struct Moment {
  RolloutState state;
  explicit Moment(RolloutSpec spec) : state((spec.unproven = {"1.0"}, std::move(spec))) { apply("stage.started", {{"stage", 0}}); }
  void apply(const std::string& kind, json::object body) {
    LedgerEntry entry;
    entry.body = std::move(body);
    entry.body["kind"] = kind, entry.body["rollout"] = "r-test", entry.body["time"] = format_utc(kNoon);
    state.apply(entry);
  }
  void apply(const std::string& kind, const std::string& host) { apply(kind, {{"host", host}, {"op", "o-" + host}, {"forward", true}}); }

  std::string records(const DecideInput& in = at(kNoon)) const {
    std::vector<std::string> out;
    for (const auto& action : decide(state, in).actions)
      if (auto* record = std::get_if<Record>(&action)) out.push_back(record->kind);
    return join(out, " ");
  }
  template <class Kind>
  std::string hosts_of() const {
    std::vector<std::string> out;
    for (const auto& action : decide(state, at(kNoon)).actions)
      if (auto* one = std::get_if<Kind>(&action)) out.push_back(state.spec().hosts[static_cast<std::size_t>(one->host)].name);
    return join(out, " ");
  }
  std::string activated() const { return hosts_of<Activate>(); }
  std::string goes_back() const { return hosts_of<GoBack>(); }
  static DecideInput at(WallTime now) {
    DecideInput in;
    in.now = now;
    return in;
  }
};

// Four hosts in one stage, all staged, in two racks.
RolloutSpec one_stage(int max_parallel) {
  World w(4, 1);
  w.spec.max_failures = 3;
  w.spec.stages[0].max_parallel = max_parallel;
  w.spec.stages[0].slow_start = false;
  for (std::size_t i = 0; i < w.spec.hosts.size(); ++i) w.spec.hosts[i].domain = i < 2 ? "rack-a" : "rack-b";
  return w.spec;
}
Moment all_staged(RolloutSpec spec) {
  auto names = spec.hosts;
  Moment m(std::move(spec));
  for (const auto& h : names) m.apply("host.staged", h.name);
  return m;
}

}  // namespace

TEST_CASE("a host whose intent is not in the ledger yet has its place among those that may be out") {
  auto m = all_staged(one_stage(1));
  CHECK(m.activated() == "web-001");
  m.state.set_busy(0, true);
  CHECK(m.activated() == "");
  m.apply("host.intent", "web-001");
  CHECK(m.activated() == "");
  m.apply("host.confirmed", "web-001");
  CHECK(m.activated() == "");  // its task has not ended
  m.state.set_busy(0, false);
  CHECK(m.activated() == "web-002");
}

TEST_CASE("a host that failed keeps its place until it is back, also while its task has not ended") {
  auto m = all_staged(one_stage(1));
  m.state.set_busy(0, true);
  m.apply("host.intent", "web-001");
  m.apply("host.failed", {{"host", "web-001"}, {"op", "o-web-001"}, {"failed_step", "health"}, {"reason", "500"}, {"switched", true}});
  CHECK(m.activated() == "");
  m.state.set_busy(0, false);
  CHECK(m.activated() == "");
  m.state.set_busy(0, true);
  m.apply("host.intent", {{"host", "web-001"}, {"op", "o-back"}, {"forward", false}});
  CHECK(m.activated() == "");
  m.apply("host.returned", {{"host", "web-001"}, {"op", "o-back"}});
  m.state.set_busy(0, false);
  CHECK(m.activated() == "web-002");
}

TEST_CASE("max_unavailable counts hosts whose intent is on its way, and those that were confirmed while their task has not ended") {
  auto spec = one_stage(4);
  spec.stages[0].max_unavailable = 1;
  auto m = all_staged(std::move(spec));
  CHECK(m.activated() == "web-001 web-003");
  m.state.set_busy(0, true);
  CHECK(m.activated() == "web-003");
  m.state.set_busy(2, true);
  CHECK(m.activated() == "");
  m.apply("host.intent", "web-001");
  CHECK(m.activated() == "");
  m.apply("host.confirmed", "web-001");
  CHECK(m.activated() == "");
  m.state.set_busy(0, false);
  CHECK(m.activated() == "web-002");
}

TEST_CASE("going back keeps to max_unavailable for hosts that serve, and takes those that do not at once") {
  auto spec = one_stage(4);
  spec.stages[0].max_unavailable = 1;
  Moment m(std::move(spec));
  for (const char* host : {"web-001", "web-002", "web-003", "web-004"}) m.apply("host.intent", host), m.apply("host.confirmed", host);
  m.apply("host.unhealthy", {{"host", "web-002"}, {"reason", "500"}});
  m.apply("rollout.rolling_back", {{"why", "aborted"}});
  CHECK(m.goes_back() == "web-002 web-003");
  m.state.set_busy(1, true);
  m.apply("host.intent", {{"host", "web-002"}, {"op", "o-b2"}, {"forward", false}});
  m.state.set_busy(2, true);
  CHECK(m.goes_back() == "");
  m.apply("host.intent", {{"host", "web-003"}, {"op", "o-b3"}, {"forward", false}});
  CHECK(m.goes_back() == "");
  m.apply("host.returned", {{"host", "web-003"}, {"op", "o-b3"}});
  m.state.set_busy(2, false);
  CHECK(m.goes_back() == "web-004");
  m.apply("host.returned", {{"host", "web-002"}, {"op", "o-b2"}});
  m.state.set_busy(1, false);
  CHECK(m.goes_back() == "web-001 web-004");
}

TEST_CASE("a bake is not skipped because a host's entry is seen before its task has ended") {
  Moment m(World(2, 2).spec);
  m.apply("host.staged", "web-001");
  m.state.set_busy(0, true);
  m.apply("host.intent", "web-001");
  m.apply("host.confirmed", "web-001");
  CHECK(m.records() == "");
  m.state.set_busy(0, false);
  CHECK(m.records() == "stage.baking");
}

TEST_CASE("a bake ends with a round of health that began in it, however late it is") {
  Moment m(World(2, 2).spec);
  m.apply("host.intent", "web-001");
  m.apply("host.confirmed", "web-001");
  m.apply("stage.baking", {{"stage", 0}});
  auto asked = [&](WallTime last_round) {
    auto in = Moment::at(kNoon + Millis(86400000));  // a controller that comes back a day later
    in.last_health_round = last_round;
    std::pair<bool, bool> passed_checked;
    for (const auto& action : decide(m.state, in).actions) {
      if (auto* record = std::get_if<Record>(&action)) passed_checked.first = passed_checked.first || record->kind == "stage.passed";
      passed_checked.second = passed_checked.second || std::holds_alternative<CheckHealth>(action);
    }
    return passed_checked;
  };
  CHECK(asked(WallTime{0}) == std::pair(false, true));
  CHECK(asked(kNoon + Millis(1)) == std::pair(true, false));
}

TEST_CASE("a bake whose last host turns unhealthy waits until that is back, and then a person decides") {
  World w(2, 2);
  w.spec.max_failures = 2;
  Moment m(w.spec);
  m.apply("host.intent", "web-001");
  m.apply("host.confirmed", "web-001");
  m.apply("stage.baking", {{"stage", 0}});
  m.apply("host.unhealthy", {{"host", "web-001"}, {"reason", "unhealthy while baking: 500"}});
  CHECK(m.goes_back() == "web-001");
  CHECK(m.records() == "");
  m.state.set_busy(0, true);
  CHECK(m.records() == "");
  m.apply("host.intent", {{"host", "web-001"}, {"op", "o-back"}, {"forward", false}});
  CHECK(m.records() == "");
  m.apply("host.returned", {{"host", "web-001"}, {"op", "o-back"}});
  m.state.set_busy(0, false);
  CHECK(m.records() == "rollout.paused");
  CHECK(m.activated() == "");
}

TEST_CASE("a bake does not end while one of its hosts goes back; the rollout does not end while somebody is at any host") {
  World w(3, 1);
  w.spec.max_failures = 2;
  Moment m(w.spec);
  for (const char* host : {"web-001", "web-002", "web-003"}) m.apply("host.intent", host), m.apply("host.confirmed", host);
  m.apply("stage.baking", {{"stage", 0}});
  m.apply("host.unhealthy", {{"host", "web-002"}, {"reason", "unhealthy while baking: 500"}});
  auto late = Moment::at(kNoon + Millis(60000));
  late.last_health_round = kNoon + Millis(59000);
  CHECK(m.records(late) == "");
  m.state.set_busy(1, true);
  m.apply("host.intent", {{"host", "web-002"}, {"op", "o-back"}, {"forward", false}});
  CHECK(m.records(late) == "");
  m.apply("host.returned", {{"host", "web-002"}, {"op", "o-back"}});
  CHECK(m.records(late) == "stage.passed");
  m.apply("stage.passed", {{"stage", 0}});
  CHECK(m.records(late) == "");
  m.state.set_busy(1, false);
  CHECK(m.records(late) == "rollout.ended");
}
