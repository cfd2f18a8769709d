// Going back is proven before going forward: what decides who walks, and what a rollout does when the way back does not work.
#include "plans/rollout/rehearsal.hpp"

#include "tests/plans/world.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

// What happened to a host, in order: "staged", "forward", "confirmed", "back", "returned".
std::vector<std::string> story_of(const World& w, const std::string& host) {
  std::vector<std::string> out;
  for (const auto& e : w.memory.entries) {
    if (get_string_or(e.body, "host", "") != host) continue;
    auto kind = get_string(e.body, "kind");
    if (kind == "host.intent") kind = get_bool(e.body, "forward") ? "host.forward" : "host.back";
    out.push_back(kind.substr(kind.find('.') + 1));
  }
  return out;
}

std::vector<Proof> proofs_in(const World& w) { return all_proofs(w.memory.entries, "storefront"); }

const std::vector<std::string> kWalk{"staged", "forward", "confirmed", "back", "returned", "forward", "confirmed", "proof"};

}  // namespace

TEST_CASE("one host of the first stage goes forward, back and forward again before any other goes at all") {
  World w(12);
  for (int i : {1, 2, 3}) w.spec.hosts[static_cast<std::size_t>(i)].stage = 0;  // four hosts in the first stage, four at once
  REQUIRE(w.run(false).exit == Exit::done);
  CHECK(w.running("2.0") == 12);
  CHECK(story_of(w, "web-001") == kWalk);
  CHECK(story_of(w, "web-002") == std::vector<std::string>{"staged", "forward", "confirmed"});
  auto proofs = proofs_in(w);
  REQUIRE(proofs.size() == 1);
  CHECK(proofs[0].from == sha256("old"));
  CHECK(proofs[0].to == w.release.digest);
  CHECK(proofs[0].from_version == "1.0");
  CHECK(proofs[0].host == "web-001");
  CHECK(proofs[0].forward.count() > 0);
  CHECK(proofs[0].back.count() > 0);
  w.check_honest();
  // The host was seen on its old tree, not only asked to go there.
  for (const auto& e : w.memory.entries)
    if (get_string(e.body, "kind") == "host.returned") CHECK(get_string(e.body, "verified") == sha256("old tree").hex());
}

TEST_CASE("a way back that does not work stops everything at the host that walked it") {
  World w(12);
  w.hosts->host("web-001").faults.way_back_broken = true;
  auto life = w.run(false);
  CHECK(life.exit == Exit::mixed);
  CHECK(w.running("2.0") == 0);
  auto s = w.state();
  CHECK(s.ending == Ending::needs_person);
  CHECK(s.rollback_why == "the way back from 2.0 to 1.0 does not work on web-001: going back: health failed: 500");
  for (const auto& name : w.names)
    if (name != "web-001") CHECK(w.hosts->host(name).switches.empty());
  CHECK(proofs_in(w).empty());

  World pause(12);
  pause.spec.rollback_on_failure = false;
  pause.hosts->host("web-001").faults.way_back_broken = true;
  CHECK(pause.run(false).exit == Exit::waiting);
  CHECK(pause.state().pause_why.starts_with("the way back from 2.0 to 1.0 does not work on web-001: "));
}

TEST_CASE("every distinct release that is replaced has its own walk; nothing replaced needs none") {
  World w(12);
  w.give("web-002", "0.9");
  w.give("web-003", std::nullopt);
  w.spec.hosts[1].stage = w.spec.hosts[2].stage = 0;
  w.give("web-009", "0.9");
  REQUIRE(w.run(false).exit == Exit::done);
  CHECK(story_of(w, "web-001") == kWalk);
  CHECK(story_of(w, "web-002") == kWalk);
  CHECK(story_of(w, "web-003") == std::vector<std::string>{"staged", "forward", "confirmed"});
  CHECK(proofs_in(w).size() == 2);
  w.check_honest();
}

TEST_CASE("a proof that holds saves the walk, one that has expired or is of another manifest does not") {
  auto walks = [](Millis age, const Digest& from) {
    World w(6);
    Proof p;
    p.from = from;
    p.to = w.release.digest;
    p.from_version = "1.0";
    p.to_version = "2.0";
    p.at = kNoon + -age;
    w.spec.proofs.push_back(p);
    CHECK(w.run(false).exit == Exit::done);
    w.check_honest();
    return proofs_in(w).size();
  };
  CHECK(walks(Millis(1000), sha256("old")) == 0);
  CHECK(walks(kProofValid, sha256("old")) == 1);
  CHECK(walks(Millis(1000), sha256("another")) == 1);
}

TEST_CASE("a proof that expires during the bakes is walked again, on the first stage, before a later stage goes on") {
  for (int kill = -1; kill < 60; kill += kill < 0 ? 2 : 1) {
    World w(8);
    w.spec.proof_valid = Millis(1500);  // a bake takes 2 s
    auto life = w.run(false, kill);
    INFO("killed after append " << kill);
    for (int again = 0; again < 5 && life.killed; ++again) life = w.run(true);
    CHECK(life.exit == Exit::done);
    CHECK(w.running("2.0") == 8);
    auto proofs = proofs_in(w);
    CHECK(proofs.size() >= 3);
    for (const auto& p : proofs) CHECK(p.host == "web-001");
    w.check_honest();
  }
}

TEST_CASE("waived by name, nobody walks") {
  World w(6);
  w.spec.unproven = {"1.0"};
  CHECK(w.run(false).exit == Exit::done);
  CHECK(proofs_in(w).empty());
  CHECK(w.memory.entries[1].body.at("unproven").as_array()[0].as_string() == "1.0");
  CHECK(history(w.memory.entries, "", false)[0].what == "rollout of storefront@2.0 to 6 hosts started, THE WAY BACK TO 1.0 UNPROVEN");
}

TEST_CASE("another host walks when the first does not answer, and with none left the rollout pauses and says so") {
  World w(8);
  w.spec.max_unreachable = 4;
  w.spec.hosts[1].stage = 0;
  w.hosts->host("web-001").faults.unreachable = true;
  CHECK(w.run(false).exit == Exit::unreachable);
  CHECK(story_of(w, "web-002") == kWalk);
  w.check_honest();

  World none(8);
  none.spec.max_unreachable = 4;
  none.give("web-002", "0.9");
  none.spec.hosts[1].stage = 0;
  none.give("web-007", "0.9");
  none.hosts->host("web-002").faults.unreachable = true;
  CHECK(none.run(false).exit == Exit::waiting);
  CHECK(none.state().pause_why == "no host is left that could walk the way back to 0.9: `retry` one that did not answer, or abort and apply with --unproven");
  CHECK(none.running("2.0") == 1);
  none.hosts->host("web-002").faults.unreachable = false;
  Loop loop;
  Ledger ledger(loop, none.clock, none.memory.open(), "bob", "desk", Ledger::Writing::inline_);
  std::vector<json::object> retried;
  retried.push_back({{"kind", "rollout.retried"}, {"rollout", none.spec.id}, {"unit", "storefront"}, {"hosts", json::array{"web-002"}}});
  auto append = [](Ledger& l, std::vector<json::object> bodies) -> Task<> { co_await l.append(std::move(bodies)); };
  run_to_end(loop, append(ledger, retried));
  CHECK(none.run(true).exit == Exit::done);
  CHECK(story_of(none, "web-002").back() == "proof");
  none.check_honest();
}

TEST_CASE("an abort in the middle of a walk leaves every host on its old release") {
  for (int kill = 5; kill < 14; ++kill) {
    World w(4);
    auto life = w.run(false, kill);
    REQUIRE(life.killed);
    Loop loop;
    Ledger ledger(loop, w.clock, w.memory.open(), "bob", "desk", Ledger::Writing::inline_);
    std::vector<json::object> aborted;
    aborted.push_back({{"kind", "rollout.aborted"}, {"rollout", w.spec.id}, {"unit", "storefront"}, {"why", "stop"}});
    auto append = [](Ledger& l, std::vector<json::object> bodies) -> Task<> { co_await l.append(std::move(bodies)); };
    run_to_end(loop, append(ledger, aborted));
    CHECK(w.run(true).exit == Exit::failed);
    CHECK(w.running("1.0") == 4);
    w.check_honest();
  }
}

TEST_CASE("the first stage gets a host for every distinct release") {
  std::vector<Host> hosts(6);
  std::vector<std::vector<const Host*>> stages(4);
  std::map<std::string, Digest> runs;
  for (std::size_t i = 0; i < hosts.size(); ++i) hosts[i].name = std::string(1, static_cast<char>('a' + i));
  stages[1] = {&hosts[0]};  // a stage that takes none is none
  stages[2] = {&hosts[1], &hosts[2]};
  stages[3] = {&hosts[3], &hosts[4], &hosts[5]};
  auto one = sha256("1"), two = sha256("2"), wanted = sha256("w");
  runs = {{"a", one}, {"b", one}, {"c", two}, {"d", wanted}, {"e", two}};  // f: nothing
  bring_rehearsers_forward(stages, runs, wanted);
  CHECK(stages[1] == std::vector<const Host*>{&hosts[0], &hosts[2]});
  CHECK(stages[2] == std::vector<const Host*>{&hosts[1]});
  CHECK(stages[3] == std::vector<const Host*>{&hosts[3], &hosts[4], &hosts[5]});
}

TEST_CASE("a proof ends when a host got stuck on the same way back since") {
  World w(4);
  REQUIRE(w.run(false).exit == Exit::done);
  CHECK(standing_proofs(w.memory.entries, "storefront").size() == 1);
  CHECK(standing_proofs(w.memory.entries, "other").empty());
  auto entries = w.memory.entries;
  LedgerEntry stuck;
  stuck.body = {{"kind", "host.stuck"}, {"unit", "storefront"}, {"rehearsal", true}, {"from", sha256("old").hex()}, {"to", w.release.digest.hex()}};
  entries.push_back(stuck);
  CHECK(standing_proofs(entries, "storefront").empty());
  CHECK(all_proofs(entries, "storefront").size() == 1);
}
