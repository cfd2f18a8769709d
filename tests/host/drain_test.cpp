// A host that was taken out of its balancer comes back into it on every way out, or says that it did not.
#include "manifests/host/observe.hpp"
#include "tests/host/activation_fixture.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

// Writes down when it is drained and undrained.
TestRelease balanced(const std::string& note, const std::string& version, const std::string& script = "exec sleep 1000") {
  auto r = sleeper(version, script);
  r.manifest.spec.drain = Action{{"/bin/sh", "-c", "echo drain " + version + " >> " + note}};
  r.manifest.spec.undrain = Action{{"/bin/sh", "-c", "echo undrain " + version + " >> " + note}};
  return r;
}

}  // namespace

TEST_CASE("drained hosts are undrained on every way out") {
  ActivationHost h;
  std::string note = h.dir / "balancer";
  auto release = [&](const std::string& version, const std::string& script = "exec sleep 1000") { return balanced(note, version, script); };
  auto one = h.deploy(release("1.0"));
  h.deploy(release("1.1"));
  CHECK(text_of(note) == "drain 1.0\nundrain 1.1\n");
  auto now = read_current(h.unit()).release;
  auto bad = h.stage(release("1.2", "exit 1")).release;
  put(note, "");
  CHECK(!activate(h.host, h.forward("op-3", now, bad)).healthy);
  CHECK(text_of(note) == "drain 1.1\n");
  activate(h.host, h.back("op-4", bad, now));
  CHECK(text_of(note) == "drain 1.1\nundrain 1.1\n");
  CHECK(h.nothing_left());

  // Undrain fails behind the confirmation: said, and tried again when the confirmation is said again.
  auto deaf = release("1.25");
  std::string door = h.dir / "door";
  deaf.manifest.spec.undrain = Action{{"/bin/sh", "-c", "test -e " + door}};
  auto before = read_current(h.unit()).release;
  auto shut = h.stage(deaf).release;
  REQUIRE(activate(h.host, h.forward("op-deaf", before, shut)).healthy);
  auto state = h.confirm_op("op-deaf");
  CHECK(state.phase == OpPhase::confirmed);
  CHECK(state.detail.find("undrain of storefront@1.25") == 0);
  CHECK(exists(h.unit().state + "/drained"));
  put(door, "");
  state = h.confirm_op("op-deaf");
  CHECK(state.phase == OpPhase::confirmed);
  CHECK(state.detail.empty());
  CHECK(h.nothing_left());

  auto broken = release("1.3");
  broken.manifest.spec.drain = Action{{"/bin/sh", "-c", "echo no balancer; exit 2"}};
  auto three = h.deploy(broken);
  put(note, "");
  auto next = h.stage(release("1.4")).release;
  auto reply = activate(h.host, h.forward("op-5", three, next));
  CHECK(reply.failed_step == "drain");
  CHECK(reply.output == "drain of storefront@1.3: '/bin/sh -c echo no balancer; exit 2' ended with exit status 2\nno balancer\n");
  CHECK(reply.state.phase == OpPhase::none);
  CHECK(text_of(note) == "undrain 1.3\n");
  CHECK(h.current() == "releases/" + three.folder());
}

TEST_CASE("an operation that is not armed says that the host is still drained, each time it is asked for, and undrains it when it can") {
  ActivationHost h;
  std::string note = h.dir / "balancer", door = h.dir / "door";
  auto from = h.deploy(balanced(note, "1.0"));
  auto deaf = balanced(note, "2.0");
  deaf.manifest.spec.undrain = Action{{"/bin/sh", "-c", "test -e " + door}};
  auto to = h.stage(deaf).release;
  const auto onward = h.forward("op-on", from, to, -1);
  for (int times = 0; times < 2; ++times) {
    auto reply = activate(h.host, onward);
    CHECK(reply.state.phase == OpPhase::confirmed);
    CHECK(reply.state.detail.find("undrain of storefront@2.0") == 0);
    CHECK(exists(h.unit().state + "/drained"));
  }
  UnitRef ref{"storefront", h.unit().root};
  auto seen = [&] { return observe(h.host, ref, Verify::none, false, std::nullopt).drained; };
  CHECK_FALSE(seen());  // whoever drained it is still there, and may be about to undrain it
  put(h.unit().state + "/drained", R"({"op":"op-on","boot":"another","pid":1,"start":1})");
  CHECK(seen());
  put(door, "");
  auto reply = activate(h.host, onward);
  CHECK_FALSE(seen());
  CHECK(reply.state.phase == OpPhase::confirmed);
  CHECK(reply.state.detail.empty());
  CHECK(h.nothing_left());
}
