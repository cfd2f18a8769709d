// Deadlines while the host's clocks do what clocks do (promise 5): a host that slept is late, a wall clock that was set is nobody's business.
// A time namespace gives a process the clock of a host that was suspended: CLOCK_BOOTTIME goes on, CLOCK_MONOTONIC does not.
#include <fmt/format.h>

#include "core/base/process.hpp"
#include "manifests/host/deadman.hpp"
#include "tests/fault/power_scene.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

constexpr const char* kProgram = RIPCORD_BUILD_DIR "/ripcord-host";

std::vector<std::string> after_sleep(int seconds, std::vector<std::string> argv) {
  std::vector<std::string> words{"/usr/bin/unshare", "--time", "--boottime", std::to_string(seconds), "--fork"};
  words.insert(words.end(), argv.begin(), argv.end());
  return words;
}

}  // namespace

TEST_CASE("a host that was suspended over its deadline goes back when it wakes; one that slept less does not", "[suspend]") {
  if (!run_process({.argv = after_sleep(1, {"/bin/true"})}, Millis(5000)).ok()) {
    WARN("skipped: needs root and a kernel with time namespaces");
    return;
  }
  for (int slept : {20, 90}) {
    ActivationHost h;
    auto from = h.deploy(still("1.0"));
    auto to = h.stage(still("1.1")).release;
    activate(h.host, h.forward("nap", from, to, 60000));
    auto pending = *read_pending(h.unit());
    // The process that waits stands for itself in another test; here it would see this host's clock.
    if (slept > 60) disarm(h.host, pending);
    auto woken = run_process({.argv = after_sleep(slept, {kProgram, "recover", "--root", h.dir.path()})}, Millis(20000));
    INFO("slept " << slept << " s: " << woken.output);
    CHECK(woken.ok());
    CHECK(h.state("nap").phase == (slept > 60 ? OpPhase::reverted : OpPhase::activated));
    CHECK(h.current() == "releases/" + (slept > 60 ? from : to).folder());
    if (slept < 60) disarm(h.host, pending);
  }
}

TEST_CASE("the process that waits for a deadline wakes by the clock that went on while it slept", "[suspend]") {
  if (!run_process({.argv = after_sleep(1, {"/bin/true"})}, Millis(5000)).ok()) {
    WARN("skipped: needs root and a kernel with time namespaces");
    return;
  }
  ActivationHost h;
  auto from = h.deploy(still("1.0"));
  auto to = h.stage(still("1.1")).release;
  activate(h.host, h.forward("nap", from, to, 60000));
  disarm(h.host, *read_pending(h.unit()));
  auto deadman = run_process({.argv = after_sleep(59, {kProgram, "deadman", "--state-dir", h.host.layout.state, "--unit", "storefront", "--unit-root", "/srv",
                                                       "--op", "nap", "--root", h.dir.path()})}, Millis(10000));
  INFO(deadman.output);
  CHECK(deadman.ok());  // it ended by itself, a second later, and not by our deadline
  CHECK(h.state("nap").phase == OpPhase::reverted);
  CHECK(h.current() == "releases/" + from.folder());
}
