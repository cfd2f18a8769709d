// The big red switch on a host: nothing goes forward any more, and everything that goes back does.
#include "manifests/host/halt.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "manifests/host/observe.hpp"
#include "tests/host/activation_fixture.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

const Halt kHalt{"h1", "ana", "ops-1", "disk melts", 1795000000000};

}  // namespace

TEST_CASE("a halted host begins no forward operation, and says who halted it", "[halt]") {
  ActivationHost h;
  auto one = h.deploy(sleeper("1.0"));
  auto two = h.stage(sleeper("1.1")).release;
  raise_halt(h.host, kHalt);
  auto before = h.kinds();
  auto refused = refusal([&] { activate(h.host, h.forward("op-2", one, two)); });
  CHECK(refused.code == "halted");
  CHECK(refused.message == "this host is halted by ana on ops-1 since 2026-11-18T11:06:40.000Z: disk melts");
  CHECK(h.kinds() == before);
  CHECK(h.current() == "releases/" + one.folder());
  CHECK(h.nothing_left());

  auto seen = halt_flag(h.host);
  REQUIRE(seen);
  CHECK(seen->id == "h1");
  CHECK(lift_halt(h.host)->why == "disk melts");
  CHECK(!halt_flag(h.host));
  CHECK(!lift_halt(h.host));
  CHECK(activate(h.host, h.forward("op-3", one, two)).healthy);
}

TEST_CASE("going back, confirm and the dead-man do not look at the flag", "[halt]") {
  ActivationHost h;
  auto one = h.deploy(sleeper("1.0"));
  auto two = h.stage(sleeper("1.1")).release;
  REQUIRE(activate(h.host, h.forward("op-2", one, two)).healthy);
  raise_halt(h.host, kHalt);
  CHECK(h.confirm_op("op-2").phase == OpPhase::confirmed);
  CHECK(activate(h.host, h.back("op-3", two, one)).healthy);
  CHECK(h.current() == "releases/" + one.folder());
  lift_halt(h.host);
  REQUIRE(activate(h.host, h.forward("op-4", one, two, 1500)).healthy);
  raise_halt(h.host, kHalt);
  CHECK(h.wait_for([&] { return h.state("op-4").phase == OpPhase::reverted; }, Millis(10000)));
  CHECK(h.current() == "releases/" + one.folder());
}

TEST_CASE("forward past a point of no return is not armed and no rip cord's business, but a halt refuses it all the same", "[halt]") {
  ActivationHost h;
  auto one = h.deploy(sleeper("1.0"));
  auto two = h.stage(sleeper("1.1")).release;
  raise_halt(h.host, kHalt);
  CHECK(refusal([&] { activate(h.host, h.forward("op-2", one, two, -1)); }).code == "halted");
  CHECK(h.current() == "releases/" + one.folder());
  lift_halt(h.host);
  auto reply = activate(h.host, h.forward("op-3", one, two, -1));
  CHECK(reply.healthy);
  CHECK(reply.state.phase == OpPhase::confirmed);
  CHECK(h.current() == "releases/" + two.folder());
  CHECK(h.service_folder() == two.folder());
  CHECK(h.nothing_left());
  auto kinds = h.kinds();
  CHECK(std::count(kinds.begin(), kinds.end(), "ARMED") == 1);  // of the first deployment
  auto seen = observe(h.host, h.ref(), Verify::none, false);
  CHECK_FALSE(seen.way_back);
  CHECK(seen.last_forward->op != "op-3");
  CHECK(refusal([&] { activate(h.host, h.forward("op-4", two, one, 0)); }).code == "bad_request");
}

TEST_CASE("a halt that comes during drain or spread is heard before anything is armed, and the host is undrained", "[halt]") {
  ActivationHost h;
  auto one = h.deploy(sleeper("1.0"));
  auto two = h.stage(sleeper("1.1")).release;
  auto request = h.forward("op-2", one, two);
  request.spread_ms = 200;
  std::thread other([&] {
    HostContext same = HostContext::of_this_host(h.host.layout);
    ::usleep(50000);
    raise_halt(same, kHalt);
  });
  auto refused = refusal([&] { activate(h.host, request); });
  other.join();
  CHECK(refused.code == "halted");
  CHECK(h.state("op-2").phase == OpPhase::none);
  CHECK(h.nothing_left());
}

TEST_CASE("halt returns only when an activation that had begun has made its switch", "[halt]") {
  ActivationHost h;
  auto one = h.deploy(sleeper("1.0"));
  auto two = h.stage(sleeper("1.1")).release;
  std::atomic<bool> returned{false};
  bool while_switching = true;
  std::optional<std::thread> other;
  h.host.event = [&](std::string_view step) {
    if (step == "armed") {
      other.emplace([&] {
        HostContext same = HostContext::of_this_host(h.host.layout);
        raise_halt(same, kHalt);
        returned = true;
      });
      ::usleep(300000);
    }
    if (step == "activated") while_switching = returned;
  };
  auto reply = activate(h.host, h.forward("op-2", one, two));
  REQUIRE(other);
  other->join();
  CHECK(!while_switching);
  CHECK(returned);
  CHECK(reply.healthy);
  CHECK(h.confirm_op("op-2").phase == OpPhase::confirmed);
}

TEST_CASE("a flag that cannot be read is a flag", "[halt]") {
  TestHost h;
  make_dirs(h.host.layout.state, 0700);
  put(h.host.layout.halt_file(), "{\"id\":");
  auto seen = halt_flag(h.host);
  REQUIRE(seen);
  CHECK(seen->why.find("cannot be read") != std::string::npos);
  CHECK(refusal([&] { ForwardGate gate(h.host); }).code == "halted");
}
