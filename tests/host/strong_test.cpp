// The strong leg of the dead-man switch against a supervisor that really acts, and records that other helpers left.
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/process.hpp"
#include "manifests/host/deadman.hpp"
#include "manifests/host/pending.hpp"
#include "tests/host/activation_fixture.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

// systemd-run that starts what it is given after the time it is given, in a session of its own; systemctl that says yes.
struct Supervised : ActivationHost {
  std::string path = ::getenv("PATH");
  explicit Supervised(const std::string& systemd_run = "") {
    dir.mkdir("run/systemd/system");
    dir.mkdir("etc/systemd/system");
    auto bin = dir.mkdir("bin");
    const char* acts =
        "#!/bin/sh\nwhile [ $# -gt 0 ]; do case \"$1\" in --on-active=*) ms=${1#--on-active=}; ms=${ms%ms} ;; --*) ;; *) break ;; esac; shift; done\n"
        "at=$(printf '%d.%03d' $((ms / 1000)) $((ms % 1000)))\nsetsid sh -c 'sleep \"$0\"; exec \"$@\"' \"$at\" \"$@\" </dev/null >/dev/null 2>&1 &\n";
    dir.write("bin/systemd-run", systemd_run.empty() ? acts : systemd_run, 0755);
    dir.write("bin/systemctl", "#!/bin/sh\nexit 0\n", 0755);
    ::setenv("PATH", (bin + ":" + path).c_str(), 1);
  }
  ~Supervised() { ::setenv("PATH", path.c_str(), 1); }
};

bool over(OpPhase p) { return p == OpPhase::reverted || p == OpPhase::failed_unchanged || p == OpPhase::needs_operator; }

}  // namespace

TEST_CASE("strong: the supervisor's timer brings the host back, with no process of ours waiting", "[strong]") {
  if (::geteuid() != 0) {
    SUCCEED("needs root");
    return;
  }
  Supervised h;
  auto one = h.deploy(sleeper("1.0"));
  auto two = h.stage(sleeper("1.1")).release;
  auto request = h.forward("op-2", one, two, 1500);
  request.demand_strong = true;
  REQUIRE(activate(h.host, request).healthy);
  auto pending = read_pending(h.unit());
  REQUIRE(pending);
  CHECK(pending->strength == "strong");
  CHECK(pending->deadman.pid == 0);
  CHECK(h.wait_for([&] { return over(h.state("op-2").phase); }, Millis(6500)));
  CHECK(h.state("op-2").phase == OpPhase::reverted);
  CHECK(h.service_folder() == one.folder());
  CHECK(h.wait_for([&] { return h.nothing_left(); }, Millis(2000)));

  // Confirmed in time: what the timer starts finds its operation ended, and goes.
  request = h.forward("op-3", one, two, 1500);
  REQUIRE(activate(h.host, request).healthy);
  REQUIRE(h.confirm_op("op-3").phase == OpPhase::confirmed);
  ::usleep(1800000);
  CHECK(h.state("op-3").phase == OpPhase::confirmed);
  CHECK(h.service_folder() == two.folder());
}

TEST_CASE("strong: a supervisor that refuses is no switch, and without one nothing is switched", "[strong]") {
  if (::geteuid() != 0) {
    SUCCEED("needs root");
    return;
  }
  ReleaseId one;
  Supervised h("#!/bin/sh\n[ -e \"$0.broken\" ] && { echo no bus >&2; exit 1; }\nexit 0\n");
  one = h.deploy(sleeper("1.0"));
  auto two = h.stage(sleeper("1.1")).release;
  put(h.dir / "bin/systemd-run.broken", "");
  auto refused = refusal([&] { activate(h.host, h.forward("op-2", one, two)); });
  CHECK(refused.code == "cannot_arm");
  CHECK(refused.message.find("systemd-run: exit status 1: no bus") != std::string::npos);
  CHECK(h.state("op-2").phase == OpPhase::failed_unchanged);
  CHECK(h.current() == "releases/" + one.folder());
  CHECK(h.service_folder() == one.folder());
  CHECK(h.nothing_left());
}

TEST_CASE("an older helper's record of an armed operation is honoured: what it does not say the journal knows", "[strong]") {
  ActivationHost h;
  auto one = h.deploy(sleeper("1.0"));
  auto two = h.stage(sleeper("1.1")).release;
  REQUIRE(activate(h.host, h.forward("op-2", one, two, 60000)).healthy);
  auto pending = read_pending(h.unit());
  ::kill(pending->deadman.pid, SIGKILL);
  REQUIRE(h.wait_for([&] { reap(pending->deadman.pid); return !is_alive(pending->deadman); }, Millis(2000)));
  // Neither where to go back to, nor files, nor which process waits.
  put(h.unit().pending(), json::serialize(json::object{{"op", "op-2"}, {"boot", h.host.boot_id}, {"deadline_us", 1}}) + "\n");
  auto done = recover(h.host);
  REQUIRE(done.size() == 1);
  CHECK(done[0].what == "not confirmed within 1m: reverted");
  CHECK(h.current() == "releases/" + one.folder());
  CHECK(h.service_folder() == one.folder());
  CHECK(h.nothing_left());
}
