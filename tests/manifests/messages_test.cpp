#include "manifests/shared/messages.hpp"

#include "core/base/error.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;

namespace {

ReleaseId release(const std::string& version) { return {version, sha256("manifest " + version), sha256("tree " + version)}; }

template <class T, class Read>
void check_round_trip(const T& message, Read read) {
  auto text = json::serialize(to_json(message));
  INFO(text);
  CHECK(json::serialize(to_json(read(parse_json_object(text, "message")))) == text);
}

}  // namespace

TEST_CASE("messages: what one side writes the other reads") {
  OpState op{"op-1", "rollout-1", OpPhase::activated, false, release("1.0"), release("1.1"), release("0.9"), 4200, "d", "me", "because", 17, 3};
  Observation o;
  o.current = Observation::Current::release;
  o.running = release("1.1");
  o.link_target = "releases/x";
  o.tree_state = "damaged";
  o.findings = {{"changed", "bin/\x7f", "expected a, found b"}};
  o.way_back = release("1.0");
  o.releases = {release("1.0"), release("1.1")};
  o.last_op = op;
  o.epoch = 9;
  o.free_bytes = 1ull << 50;
  o.process_ok = true;
  ActivateRequest a{{"storefront", "/opt"}, "op-1", "r", true, {}, release("1.1"), release("0.9"), 7, "holder", "ledger", "who", "why", 1000, 50, true};
  ActivateReply r{op, true, false, "health", "output\n\x1b[31m", "tail", {{"switch", 3}}, {"/etc/x, kept in /y"}};
  check_round_trip(HelloReply{1, {"a", "b"}, "id", "boot", "x86_64", "root", "digest", 12, "weak", "none"}, hello_from_json);
  check_round_trip(UnitRef{"storefront", "/opt"}, unit_ref_from_json);
  check_round_trip(release("1.1"), release_id_from_json);
  check_round_trip(op, op_state_from_json);
  check_round_trip(o, observation_from_json);
  check_round_trip(StageOffer{{"storefront"}, "manifest\n", "signature", {{"role", "web"}}}, stage_offer_from_json);
  check_round_trip(StageReply{release("1.1"), false, {sha256("x")}, 12, 3}, stage_reply_from_json);
  check_round_trip(a, activate_request_from_json);
  check_round_trip(r, activate_reply_from_json);
  check_round_trip(HostError{"fenced", "m", "h"}, host_error_from_json);

  auto back = activate_request_from_json(to_json(a));
  CHECK_FALSE(back.from);
  CHECK(*back.to == release("1.1"));
  CHECK(back.demand_strong);
  CHECK(observation_from_json(to_json(o)).free_bytes == 1ull << 50);
  CHECK(op_state_from_json(to_json(op)).phase == OpPhase::activated);
}

TEST_CASE("messages: newer members are passed over, wrong ones are refused") {
  auto read = [](const std::string& text) { return release_id_from_json(parse_json_object(text, "m")); };
  std::string digest(64, 'a');
  CHECK(read(R"({"version":"1","manifest":")" + digest + R"(","tree":")" + digest + R"(","new":1})").version == "1");
  CHECK_THROWS_WITH(read(R"({"version":"../../etc","manifest":")" + digest + R"(","tree":")" + digest + "\"}"), "'../../etc' is not a version");
  CHECK_THROWS_WITH(read(R"({"version":"1","manifest":"zz","tree":")" + digest + "\"}"), "member 'manifest' is not a digest");
  CHECK_THROWS_WITH(unit_ref_from_json(parse_json_object(R"({"unit":"a/b"})", "m")), "'a/b' is not a unit's name");
  CHECK_THROWS_WITH(unit_ref_from_json(parse_json_object(R"({"unit":"a","root":"/x/../y"})", "m")),
                    "path 'x/../y' cannot be in a release: it has a '.' or '..' component");
  CHECK_THROWS_WITH(op_state_from_json(parse_json_object(R"({"phase":"done"})", "m")), "member 'phase' is not one of the known words");
  CHECK_THROWS_WITH(stage_reply_from_json(parse_json_object(R"({"release":{"version":"1"},"complete":true})", "m")),
                    "member 'manifest' is missing, while reading 'release'");
}

TEST_CASE("messages: words") {
  for (auto text : {"none", "intent", "activated", "confirmed", "reverting", "reverted", "failed_unchanged", "needs_operator"})
    CHECK(to_text(op_phase_from_text(text)) == text);
  for (auto text : {"none", "quick", "full"}) CHECK(to_text(verify_from_text(text)) == text);
  CHECK_THROWS_WITH(verify_from_text("deep"), "'deep' is not a way to verify (none, quick, full)");
  CHECK_THROWS_WITH(op_phase_from_text("\x1b[2J"), "'\\x1b[2J' is not a phase of an operation");
}
