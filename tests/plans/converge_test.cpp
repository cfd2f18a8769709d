// Who is brought to the stable release, and who is left alone, by the books and by what hosts say.
#include "plans/rollout/converge.hpp"

#include "core/base/digest.hpp"
#include "tests/plans/world.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;

namespace {

ReleaseId release(const std::string& version) { return {version, sha256("m" + version), sha256("t" + version)}; }

// A unit at 1.1, before that 1.0; host "h" is owed it, or not.
struct Case {
  DebtBook book;
  Host host;
  HostLook look;
  ConvergeInput in;

  Case() {
    host.name = "h";
    look.host = &host;
    look.look.emplace();
    auto& o = look.look->unit;
    o.current = Observation::Current::release, o.running = release("1.0"), o.ledger_id = "ours", o.tree_state = "verified", o.journal_seq = 7;
    o.last_op.emplace();
    o.last_op->phase = OpPhase::confirmed;
    look.look->hello.host_id = "id-1";
    auto& unit = book.units["web"];
    for (const char* version : {"1.0", "1.1"}) {
      Stable s;
      s.version = version, s.manifest = sha256(std::string("m") + version), s.rollout = std::string("r-") + version, s.root = "/srv";
      unit.stable.push_back(s);
      unit.recorded.insert(s.manifest);
    }
    in = {"web", &book, {}, "ours"};
  }
  void owe(Debt::Kind kind = Debt::Kind::away) { book.owed.push_back({kind, "web", "h", "1.1", sha256("m1.1"), "it missed r-1.1", "r-1.1"}); }
  void ran(const std::string& version) {
    auto& intent = book.intents["web"]["h"];
    intent.folder = release(version).folder(), intent.manifest = sha256("m" + version), intent.host_id = "id-1";
  }
  std::string said() const {
    auto line = plan_convergence({look}, in).at(0);
    const char* names[] = {"bring", "note", "well", "silent", "left alone"};
    return names[static_cast<int>(line.what)] + (line.why.empty() ? std::string() : ": " + line.why) + (line.empty ? " (empty)" : "");
  }
  Observation& o() { return look.look->unit; }
};

}  // namespace

TEST_CASE("who is owed is brought; who runs it already is written down; who is elsewhere by a decision stays", "[converge]") {
  Case c;
  CHECK(c.said() == "well");
  c.owe();
  CHECK(c.said() == "bring: it missed r-1.1");
  c.o().running = release("1.1");
  CHECK(c.said() == "note: it missed r-1.1");
  c.look.look.reset();
  c.look.fault = "no answer";
  CHECK(c.said() == "silent: no answer");

  Case limited;
  limited.owe(Debt::Kind::left_out);
  CHECK(limited.said() == "left alone: it is owed web@1.1, which is a rollout's business: `ripcord apply web@1.1` goes there in stages");

  Case moved;
  moved.ran("1.1");
  CHECK(moved.said() == "well: it runs 1.0, and the ledger says 1.1: that is drift, see `ripcord drift`");
}

TEST_CASE("a host that was installed again is noticed by its empty journal or its other id", "[converge]") {
  Case c;
  c.ran("1.1");
  c.o() = Observation{};
  CHECK(c.said() == "bring: it was installed again since it took 1.1: its journal knows of nothing (empty)");
  c.look.look->hello.host_id = "id-2";
  CHECK(c.said() == "bring: it was installed again since it took 1.1: it has another host id, and its journal knows of nothing (empty)");
}

TEST_CASE("a host that lost its state, and not its service, is not overwritten", "[converge]") {
  Case c;
  c.ran("1.1");
  c.o() = Observation{};
  c.o().current = Observation::Current::foreign_link, c.o().link_target = "releases/1.1-0123456789ab";
  c.look.look->hello.host_id = "id-2";
  CHECK(c.said() == "left alone: 'current' names releases/1.1-0123456789ab, and nothing is recorded about it: its state folder was emptied, and nobody knows what "
                    "was started from there. Stop the service on the host, `rm /srv/web/current` there, and `ripcord converge h -m WHY` brings the release anew; "
                    "what lies there now is kept beside it");
}

TEST_CASE("what nobody recorded is named and left alone", "[converge]") {
  Case c;
  c.owe();
  auto why = [](auto change) {
    Case other;
    other.owe();
    change(other);
    auto said = other.said();
    REQUIRE(said.starts_with("left alone: "));
    return said.substr(12);
  };
  CHECK(why([](Case& x) { x.o().running = release("9.9"); }) ==
        "it runs web@9.9 (" + sha256("m9.9").short_hex() + "), which this ledger never rolled out; `ripcord apply web@1.1 --limit host=h` replaces it knowingly");
  CHECK(why([](Case& x) { x.o().ledger_id = "0123@elsewhere"; }).find("take it over with `ripcord adopt web h -m WHY` first") != std::string::npos);
  CHECK(why([](Case& x) { x.o().current = Observation::Current::folder; }) == "'current' is a real folder, not a link; move it away by hand first");
  CHECK(why([](Case& x) {
          x.o().current = Observation::Current::foreign_link, x.o().link_target = "/opt/old";
        }) == "'current' points at '/opt/old', which nobody recorded; stop what runs there and remove the link, then converge again");
  CHECK(why([](Case& x) { x.o().tree_state = "damaged"; }) == "its running release was changed, and is the way back; `ripcord drift repair` puts it right");
  CHECK(why([](Case& x) { x.o().last_op->phase = OpPhase::activated, x.o().last_op->rollout = "r-9"; }) == "an operation of r-9 is under way on it");
  auto stuck = [](Case& x) { x.o().last_op->phase = OpPhase::needs_operator; };
  CHECK(why(stuck) == "it needs a person; once it was looked at, name it: `ripcord converge h -m WHY`");
  Case named;
  named.owe();
  stuck(named);
  named.in.named = {"h"};
  CHECK(named.said() == "bring: it missed r-1.1");
}

TEST_CASE("a convergence decides nothing, goes in one stage, and its hosts go back where the others go", "[converge]") {
  Plan plan;
  for (const char* name : {"canary", "all"}) {
    StagePlan stage;
    stage.name = name, stage.bake = Millis(3600000), stage.approval = true, stage.max_parallel = {7, false};
    plan.stages.push_back(stage);
  }
  plan.once.push_back({});
  plan.completed_elsewhere.emplace();
  auto converge = convergence_plan(plan);
  REQUIRE(converge.stages.size() == 1);
  CHECK(converge.stages[0].max_parallel.value == 7);
  CHECK(converge.stages[0].bake == Millis(10000));
  CHECK_FALSE(converge.stages[0].approval);
  CHECK(converge.once.empty());
  CHECK_FALSE(converge.completed_elsewhere);
  CHECK(converge.max_failures.of(50) == 3);

  Case c;
  RolloutSpec spec;
  HostPlan joined, old;
  joined.name = "h", joined.to = release("1.1");
  old.name = "old", old.from = release("1.0"), old.to = release("1.1");
  spec.hosts = {joined, old};
  spec.left_out.push_back({"x", "y", 0});
  auto& standing = c.book.units["web"];
  make_convergence(spec, standing, {}, {{"h", release("1.0")}, {"old", release("1.0")}});
  CHECK(spec.purpose == "converge");
  CHECK(spec.left_out.empty());
  CHECK(spec.hosts[0].journalled_as == "r-1.1");  // a rip cord that undoes r-1.1 takes it along …
  CHECK(spec.hosts[0].undo_to == release("1.0"));  // … to where the others go
  CHECK_FALSE(spec.hosts[1].undo_to);              // it came from there

  standing.stable.back().by_cord = true;
  standing.stable.back().undone = "r-1.2";
  make_convergence(spec, standing, {}, {});
  CHECK(spec.hosts[0].journalled_as == "r-1.2");
  CHECK(spec.hosts[0].undo_to == release("1.1"));  // the cord has been pulled: once more changes nothing
  standing.stable.back().no_return = {"db:7"};
  make_convergence(spec, standing, {}, {});
  CHECK(spec.no_return == std::vector<std::string>{"db:7"});
  CHECK_FALSE(spec.rollback_on_failure);
  CHECK(standing.before() == nullptr);
}

TEST_CASE("a host that answers only after the plan was made is owed, not activated from what nobody looked at", "[converge]") {
  test::World w(6);
  w.spec.max_unreachable = 6;
  for (auto* plan : {&w.spec.hosts[4], &w.spec.hosts[5]}) plan->away = true, plan->from.reset();
  w.give("web-006", std::nullopt);  // nothing ran there: that is what the plan thinks
  auto life = w.run(false);
  REQUIRE(life.exit);
  CHECK(*life.exit == Exit::unreachable);
  auto state = w.state();
  CHECK(state.ending == Ending::completed);
  CHECK(state.failures == 0);
  CHECK(state.owed == std::vector<std::string>{"web-005"});
  CHECK(state.hosts()[4].reason.find("runs 1.0: `ripcord converge` brings it") != std::string::npos);
  CHECK(w.hosts->host("web-005").running->version == "1.0");
  CHECK(w.running("2.0") == 5);
}
