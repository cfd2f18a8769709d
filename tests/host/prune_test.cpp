// Soft delete (promise 13): the rules as tables, and what really goes from a host.
#include <signal.h>
#include <utime.h>

#include <algorithm>

#include "core/base/process.hpp"
#include "manifests/host/prune.hpp"
#include "manifests/host/retention.hpp"
#include "tests/host/activation_fixture.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

constexpr std::int64_t kDay = 86400000;

// A host on which `n` releases ran one after the other, a day apart, the newest is current; `later` days after the last of them.
struct Aged : ActivationHost {
  std::vector<ReleaseId> all;
  std::int64_t now = wall_now().ms;
  explicit Aged(int n) {
    host.wall = [this] { return WallTime{now}; };
    for (int i = 0; i < n; ++i) {
      auto release = sleeper("1." + std::to_string(i));
      release.manifest.spec.health.min_healthy_time = Millis(20);
      all.push_back(deploy(release));
      now += kDay;
    }
  }
  PruneRequest rules() const {
    PruneRequest r;
    r.unit = ref();
    r.now_ms = now;
    return r;
  }
  std::vector<std::string> with(const std::string& fate, const PruneRequest& r, const std::string& kind = "release") {
    std::vector<std::string> out;
    for (const auto& i : prune(host, r).items)
      if (i.fate == fate && i.kind == kind) out.push_back(i.name);
    return out;
  }
  std::vector<std::string> folders(std::initializer_list<int> which) const {
    std::vector<std::string> out;
    for (int i : which) out.push_back(all[static_cast<std::size_t>(i)].folder());
    return out;
  }
  std::string why(int i) {
    for (const auto& item : prune(host, [&] { auto r = rules(); r.dry_run = true; return r; }()).items)
      if (item.name == all[static_cast<std::size_t>(i)].folder()) return item.why;
    return "?";
  }
};

}  // namespace

TEST_CASE("retired releases are marked, and go a day later; the last five, the young and every way back stay", "[prune]") {
  Aged h(9);  // 1.8 is current, 1.7 the way back
  CHECK(h.with("marked", h.rules()).empty());  // nothing is two weeks old
  h.now += 14 * kDay;
  auto dry = h.rules();
  dry.dry_run = true;
  CHECK(h.with("marked", dry) == h.folders({0, 1, 2}));
  auto records = Journal(h.unit()).records().size();
  CHECK(h.with("marked", dry) == h.folders({0, 1, 2}));
  CHECK(Journal(h.unit()).records().size() == records);
  CHECK(h.why(8) == "it is current");
  CHECK(h.why(7) == "a rollback goes there");
  CHECK(h.why(3) == "it is one of the last 5");

  CHECK(h.with("marked", h.rules()) == h.folders({0, 1, 2}));
  CHECK(h.with("removed", h.rules()).empty());  // at once: later, not now
  h.now += kDay - 1000;
  CHECK(h.with("removed", h.rules()).empty());
  // What happens to a release after it was marked takes the mark away.
  REQUIRE(activate(h.host, h.back("back-1", h.all[8], h.all[2])).healthy);
  h.now += 2000;
  CHECK(h.with("removed", h.rules()) == h.folders({0, 1}));
  for (int i : {0, 1}) {
    CHECK_FALSE(exists(h.unit().release(h.all[static_cast<std::size_t>(i)].folder())));
    CHECK_FALSE(exists(h.unit().metadata_of(h.all[static_cast<std::size_t>(i)].folder())));
  }
  CHECK(releases_on_host(h.unit()).size() == 7);
  for (const auto& name : names_in(h.unit().releases)) CHECK(name[0] != '.');
  for (const auto& name : names_in(h.unit().metadata())) CHECK(name[0] != '.');
  auto kinds = h.kinds();
  CHECK(std::count(kinds.begin(), kinds.end(), "PRUNED") == 2);
  // What was removed can be staged again, and everything else still works.
  REQUIRE(activate(h.host, h.back("back-2", h.all[2], h.all[8])).healthy);
}

TEST_CASE("what a process runs from, an open rollout pins or an armed switch goes back to stays whatever its age", "[prune]") {
  Aged h(9);
  h.now += 30 * kDay;
  auto held = run_process({.argv = {"/bin/true"}}, Millis(5000));  // the host program's own children are no matter
  CHECK(held.ok());
  Command stay{.argv = {"/bin/sleep", "600"}, .cwd = h.unit().release(h.all[0].folder())};
  auto process = start_detached(stay, "/dev/null");
  auto r = h.rules();
  r.pinned = {h.all[1].manifest};
  CHECK(h.with("marked", r) == h.folders({2}));
  ::kill(process.pid, SIGKILL);
  REQUIRE(h.wait_for([&] { reap(process.pid); return !process_id(process.pid); }, Millis(3000)));

  auto next = h.stage(sleeper("2.0")).release;
  REQUIRE(activate(h.host, h.forward("op-x", h.all[8], next, 60000)).healthy);  // armed, goes back to 1.8
  h.now += 90 * kDay;
  auto armed = h.rules();
  armed.dry_run = true;
  auto kept = h.with("kept", armed);
  CHECK(std::find(kept.begin(), kept.end(), h.all[8].folder()) != kept.end());
  CHECK(std::find(kept.begin(), kept.end(), next.folder()) != kept.end());
}

TEST_CASE("each reason to keep a release holds by itself: an armed switch, and an operation that is not over", "[prune]") {
  Aged h(9);
  h.now += 30 * kDay;
  const auto records = Journal(h.unit()).records();
  auto history = fold(records);
  RetentionFacts facts;
  facts.releases = h.all;
  facts.current = h.all[8].folder();
  auto fate = [&](int i) {
    auto all = judge_retention(records, history, facts, h.rules(), WallTime{h.now});
    return all.at(static_cast<std::size_t>(i));
  };
  for (int i : {0, 1}) CHECK(fate(i).what == Fate::What::mark);
  facts.armed_back = h.all[0].folder();
  CHECK(fate(0).what == Fate::What::keep);
  CHECK(fate(0).why == "the dead-man switch goes back to it");
  facts.armed_back.reset();

  Operation back;  // somebody takes the host far back, and it has not ended
  back.state.op = "op-back", back.state.forward = false, back.state.from = h.all[1], back.state.to = h.all[0];
  for (OpPhase phase : {OpPhase::intent, OpPhase::activated, OpPhase::reverting, OpPhase::needs_operator}) {
    back.state.phase = phase;
    history.operations["op-back"] = back;
    if (history.order.back() != "op-back") history.order.push_back("op-back");
    for (int i : {0, 1}) {
      INFO(to_text(phase));
      CHECK(fate(i).what == Fate::What::keep);
      CHECK(fate(i).why == "an operation that is not over needs it");
    }
  }
  history.operations["op-back"].state.phase = OpPhase::confirmed;
  CHECK(fate(0).what == Fate::What::mark);
}

TEST_CASE("rules cannot be made weaker, clocks must agree, and a read-only session only says what it would do", "[prune]") {
  Aged h(2);
  auto bad = [&](auto change) {
    auto r = h.rules();
    change(r);
    return refusal([&] { prune(h.host, r); }).code;
  };
  CHECK(bad([](PruneRequest& r) { r.keep = 4; }) == "bad_request");
  CHECK(bad([](PruneRequest& r) { r.age_ms = 13 * kDay; }) == "bad_request");
  CHECK(bad([](PruneRequest& r) { r.marked_ms = 0; }) == "bad_request");
  CHECK(bad([](PruneRequest& r) { r.now_ms += 40 * kDay; }) == "bad_request");
  CHECK(bad([](PruneRequest&) {}) == "");
  h.host.read_only = true;
  CHECK(bad([](PruneRequest&) {}) == "read_only");
  CHECK(bad([](PruneRequest& r) { r.dry_run = true; }) == "");
}

TEST_CASE("an interrupted removal is finished by the next, evidence and unused host programs go by the same rules", "[prune]") {
  Aged h(1);
  h.dir.write("srv/storefront/releases/.pruned-0.9-000000000000-ab/file", "x");
  auto evidence = ".damaged-0.8-000000000000-abcdef";
  h.dir.write(std::string("srv/storefront/releases/") + evidence + "/file", "x");
  auto helper = h.host.layout.helper();
  std::vector<std::string> programs;
  for (int i = 0; i < 8; ++i) {
    programs.push_back(sha256("program " + std::to_string(i)).hex());
    h.dir.write("var/lib/ripcord/helper/" + programs.back() + "/ripcord-host", "program");
    utimbuf at{(h.now - (60 - i) * kDay) / 1000, (h.now - (60 - i) * kDay) / 1000};
    REQUIRE(::utime((helper + "/" + programs.back()).c_str(), &at) == 0);
  }
  h.host.program = helper + "/" + programs[0] + "/ripcord-host";  // the oldest is the one that runs
  CHECK(h.with("marked", h.rules(), "program") == std::vector<std::string>{programs[2], programs[1]});
  CHECK_FALSE(exists(h.unit().releases + "/.pruned-0.9-000000000000-ab"));
  CHECK(exists(h.unit().releases + "/" + evidence));
  h.now += 2 * kDay;
  CHECK(h.with("removed", h.rules(), "program") == std::vector<std::string>{programs[2], programs[1]});
  CHECK(exists(helper + "/" + programs[0]));
  CHECK_FALSE(exists(helper + "/" + programs[1]));
  h.now += 20 * kDay;
  CHECK(h.with("marked", h.rules(), "evidence") == std::vector<std::string>{evidence});
  h.now += 2 * kDay;
  CHECK(h.with("removed", h.rules(), "evidence") == std::vector<std::string>{evidence});
  CHECK_FALSE(exists(h.unit().releases + "/" + evidence));
}
