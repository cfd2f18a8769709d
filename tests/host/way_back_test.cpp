// What the rip cord asks of a host: where it would go, whether it could, being mended, being fenced with a reason, and odd places to
// come back from.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "core/base/process.hpp"
#include "manifests/host/lock.hpp"
#include "manifests/host/observe.hpp"
#include "manifests/host/return_path.hpp"
#include "tests/host/activation_fixture.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

TestRelease brisk(const std::string& version) {
  auto r = sleeper(version);
  r.manifest.spec.health.min_healthy_time = Millis(60);
  return r;
}

Observation looked(ActivationHost& h, Verify how = Verify::quick, const std::string& version = "") {
  return observe(h.host, h.ref(), Verify::none, false, LookBack{how, version});
}

// Other bytes, the same size and times: only hashing tells.
void edit_in_secret(const std::string& path) {
  struct stat st {};
  REQUIRE(::stat(path.c_str(), &st) == 0);
  auto text = text_of(path);
  text[0] = text[0] == 'X' ? 'Y' : 'X';
  put(path, text);
  timespec times[2]{st.st_atim, st.st_mtim};
  REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
}

StageReply send_lacking(ActivationHost& h, const TestRelease& release, std::optional<OpenOffer>& open, const StageReply& reply) {
  auto pack = release.pack(reply.lacking);
  bool sent = false;
  auto next = [&]() -> std::optional<std::string> {
    if (sent) return std::nullopt;
    sent = true;
    return pack;
  };
  return stage_pack(h.host, *open, next);
}

}  // namespace

TEST_CASE("the way back is looked at: ready, damaged, missing, none, and about how long it takes", "[cord]") {
  ActivationHost h;
  auto first = brisk("1.0");
  first.file("code/data", "what was sealed");
  auto one = h.deploy(first);
  CHECK(looked(h).back_state == "verified");  // back to nothing deployed
  CHECK_FALSE(looked(h).back);
  auto two = h.deploy(brisk("1.1"));
  auto o = looked(h);
  CHECK(o.back_state == "verified");
  CHECK(o.back == one);
  CHECK(o.back_ms >= 50);  // min_healthy_time of the deployment
  CHECK(o.back_ms < 60000);
  CHECK(o.release_bytes > 0);

  auto data = h.unit().release(one.folder()) + "/data";
  SECTION("damaged where only hashing tells") {
    edit_in_secret(data);
    CHECK(looked(h, Verify::full).back_state == "damaged");
    CHECK(looked(h, Verify::full).back_findings.at(0).path == "data");
  }
  SECTION("a file removed") {
    ::unlink(data.c_str());
    CHECK(looked(h).back_state == "damaged");
    CHECK(looked(h).back_findings.at(0).kind == "missing");
  }
  SECTION("removed") {
    std::filesystem::remove_all(h.unit().release(one.folder()));
    CHECK(looked(h).back_state == "missing");
    CHECK(looked(h).back == one);
    CHECK(looked(h, Verify::quick, "1.0").back == one);  // the journal still knows which release that was
  }
  SECTION("its manifest is gone") {
    ::unlink((h.unit().metadata_of(one.folder()) + "/manifest").c_str());
    CHECK(looked(h).back_state == "damaged");
  }
  SECTION("by version") {
    CHECK(looked(h, Verify::quick, "1.0").back_state == "verified");
    CHECK(looked(h, Verify::quick, "0.9").back_state == "missing");
    CHECK_FALSE(looked(h, Verify::quick, "0.9").back);
  }
  SECTION("gone back already: it never goes further by itself") {
    REQUIRE(activate(h.host, h.back("back-1", two, one)).healthy);
    CHECK(looked(h).back_state == "none");
  }
}

TEST_CASE("a damaged way back is mended from a pack, exactly as it was", "[cord]") {
  ActivationHost h;
  auto first = brisk("1.0");
  first.file("code/data", "what was sealed");
  auto one = h.deploy(first);
  auto two = h.deploy(brisk("1.1"));
  h.labels["role"] = "other";  // relabelled since: the release is mended as it was, not as it would be made today
  h.stage(brisk("1.2"));
  auto data = h.unit().release(one.folder()) + "/data";
  edit_in_secret(data);

  std::optional<OpenOffer> open;
  auto reply = mend(h.host, h.ref(), one, open);
  CHECK_FALSE(reply.complete);
  CHECK(reply.lacking == std::vector<Digest>{sha256("what was sealed")});
  REQUIRE(open);
  CHECK(send_lacking(h, first, open, reply).complete);
  CHECK(text_of(data) == "what was sealed");
  CHECK(looked(h, Verify::full).back_state == "verified");
  CHECK(h.history().labels.at("role") == "other");
  int kept = 0;
  for (const auto& name : names_in(h.unit().releases)) kept += name.starts_with(".damaged-" + one.folder());
  CHECK(kept == 1);  // evidence
  CHECK(mend(h.host, h.ref(), one, open).complete);
  CHECK_FALSE(open);
  REQUIRE(activate(h.host, h.back("back-1", two, one)).healthy);

  CHECK(refusal([&] { mend(h.host, h.ref(), ReleaseId{"9.9", one.manifest, one.tree}, open); }).code == "missing_release");
  put(h.unit().metadata_of(two.folder()) + "/manifest", "{}");
  CHECK(refusal([&] { mend(h.host, h.ref(), two, open); }).code == "missing_release");
}

TEST_CASE("a fence with a reason is journalled with what the host is meant to run", "[cord]") {
  ActivationHost h;
  auto one = h.deploy(brisk("1.0"));
  fence(h.host, FenceRequest{h.ref(), 7, "rb-cord", "", "rb-1", "ann", "INC-77"});
  auto records = Journal(h.unit()).records();
  const auto& last = records.back();
  CHECK(last.kind == "FENCE");
  CHECK(get_string(last.body, "op") == "rb-1");
  CHECK(get_string(last.body, "who") == "ann");
  CHECK(get_string(last.body, "why") == "INC-77");
  CHECK(release_id_from_json(get_object(last.body, "intended")) == one);
  CHECK(h.history().epoch == 7);
  fence(h.host, FenceRequest{h.ref(), 7, "rb-cord", "", "rb-1", "ann", "INC-77"});
  CHECK(Journal(h.unit()).records().size() == records.size());
  CHECK(refusal([&] { fence(h.host, FenceRequest{h.ref(), 7, "rb-other", "", "rb-2", "bob", ""}); }).code == "fenced");
}

TEST_CASE("without the host's own ledger a rollback reaches only what ran there before", "[cord]") {
  ActivationHost h;
  auto one = h.deploy(brisk("1.0"));
  auto two = h.deploy(brisk("1.1"));
  auto three = h.stage(brisk("1.2")).release;
  for (const char* ledger : {"", "another"}) {
    auto request = h.back("back-x", two, three);
    request.ledger_id = ledger;
    auto refused = refusal([&] { activate(h.host, request); });
    CHECK(refused.code == "never_confirmed");
    CHECK(h.current() == "releases/" + two.folder());
  }
  auto request = h.back("back-1", two, one);
  request.ledger_id = "";
  CHECK(activate(h.host, request).healthy);
  CHECK(activate(h.host, h.back("back-2", one, three)).healthy);  // with its own ledger a person may say so
  CHECK(h.history().ledger_id == "ledger");
}

TEST_CASE("going back from a release whose folder is gone", "[cord]") {
  ActivationHost h;
  auto one = h.deploy(brisk("1.0"));
  auto two = h.deploy(brisk("1.1"));
  std::filesystem::remove_all(h.unit().release(two.folder()));
  auto o = looked(h);
  CHECK(o.current == Observation::Current::broken);
  CHECK(o.back == one);
  auto reply = activate(h.host, h.back("back-1", two, one));
  INFO(reply.state.detail);
  CHECK(reply.healthy);
  CHECK(h.current() == "releases/" + one.folder());
  CHECK(h.service_folder() == one.folder());
}

TEST_CASE("what lay at current before the first deployment is the way back from it, also when that was confirmed", "[cord]") {
  ActivationHost h;
  auto staged = h.stage(brisk("1.0")).release;
  h.dir.mkdir("opt/app-2019");
  REQUIRE(::symlink("../../opt/app-2019", h.unit().current.c_str()) == 0);
  auto one = h.deploy(brisk("1.0"));
  CHECK(one == staged);
  auto reply = activate(h.host, h.back("back-1", one, std::nullopt));
  INFO(reply.state.detail);
  CHECK(reply.healthy);
  CHECK(h.current() == "../../opt/app-2019");
  CHECK_FALSE(h.service_pid());
  CHECK(activate(h.host, h.back("back-2", one, std::nullopt)).state.phase == OpPhase::confirmed);
  CHECK(h.current() == "../../opt/app-2019");
}

TEST_CASE("a way back that fails is tried three times, then a person is asked; pulling again converges", "[cord]") {
  ActivationHost h;
  auto old = sleeper("1.0", "[ -e " + h.dir.path() + "/broken ] && exit 3; exec sleep 1000");
  auto one = h.deploy(old);
  auto two = h.deploy(sleeper("1.1"));
  put(h.dir / "broken", "");
  auto reply = activate(h.host, h.back("back-1", two, one));
  CHECK_FALSE(reply.healthy);
  CHECK(reply.state.phase == OpPhase::needs_operator);
  CHECK(h.history().find("back-1")->attempts == 3);
  CHECK(h.current() == "releases/" + one.folder());
  ::unlink((h.dir / "broken").c_str());
  auto again = activate(h.host, h.back("back-2", one, one));
  CHECK(again.healthy);
  CHECK_FALSE(again.switched);
  CHECK(h.service_folder() == one.folder());
}

TEST_CASE("a way back that was cut short three times is not tried for ever", "[cord]") {
  ActivationHost h;
  auto one = h.deploy(brisk("1.0"));
  auto two = h.deploy(brisk("1.1"));
  REQUIRE(activate(h.host, h.back("back-1", two, one)).healthy);
  // What three helpers that died while they brought it up leave behind.
  std::string journal = text_of(h.unit().journal());
  journal.erase(journal.rfind('\n', journal.size() - 2) + 1);
  put(h.unit().journal(), journal);
  {
    UnitLock lock(h.host, h.unit(), "test");
    for (int i = 2; i <= 3; ++i) Journal(h.unit()).append(h.host, lock, "ATTEMPT", {{"op", "back-1"}, {"attempt", i}});
  }
  signal_group(*h.service_pid(), SIGKILL);
  REQUIRE(h.wait_for([&] { return !h.service_pid(); }, Millis(5000)));
  auto done = recover(h.host);
  REQUIRE(done.size() == 1);
  CHECK(done[0].what == "going back was cut short, and was finished: needs_operator");
  CHECK(h.state("back-1").detail.find("after 3 of 3 attempts it was cut short each time; to look: ") != std::string::npos);
  CHECK(recover(h.host).empty());
}
