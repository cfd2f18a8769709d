// The dead-man switch with its real process: nobody confirms, somebody does, both at the deadline.
#include <signal.h>
#include <unistd.h>

#include "core/base/process.hpp"
#include "manifests/host/pending.hpp"
#include "tests/host/activation_fixture.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;
using namespace ripcord::test;

TEST_CASE("nobody confirms: the host goes back by itself, restart included") {
  ActivationHost h;
  auto one = h.deploy(sleeper("1.0"));
  auto two = h.stage(sleeper("1.1")).release;
  REQUIRE(activate(h.host, h.forward("op-2", one, two, 1500)).healthy);
  auto new_pid = *h.service_pid();
  auto pending = read_pending(h.unit());
  REQUIRE(pending);
  CHECK(is_alive(pending->deadman));
  CHECK(::getsid(pending->deadman.pid) == pending->deadman.pid);
  ::kill(pending->deadman.pid, SIGTERM);  // it does not go by being asked
  CHECK(h.wait_for([&] { return terminal(h.state("op-2").phase); }, Millis(6500)));
  auto state = h.state("op-2");
  CHECK(state.phase == OpPhase::reverted);
  CHECK(state.detail == "not confirmed by its deadline");
  CHECK(h.current() == "releases/" + one.folder());
  CHECK(h.service_folder() == one.folder());
  CHECK(!process_id(new_pid));
  CHECK(h.wait_for([&] { return h.nothing_left(); }, Millis(2000)));
  CHECK(h.wait_for([&] { reap(pending->deadman.pid); return !is_alive(pending->deadman); }, Millis(2000)));
  // too late
  CHECK(h.confirm_op("op-2").phase == OpPhase::reverted);
  CHECK(h.current() == "releases/" + one.folder());
}

TEST_CASE("a confirmed operation's switch is gone, and a first deployment goes back to nothing") {
  ActivationHost h;
  auto one = h.stage(sleeper("1.0")).release;
  activate(h.host, h.forward("op-1", std::nullopt, one, 1200));
  auto pid = *h.service_pid();
  CHECK(h.wait_for([&] { return terminal(h.state("op-1").phase); }, Millis(6500)));
  CHECK(h.state("op-1").phase == OpPhase::reverted);
  CHECK(h.current().empty());
  CHECK(!process_id(pid));
  activate(h.host, h.forward("op-2", std::nullopt, one, 1200));
  auto deadman = read_pending(h.unit())->deadman;
  CHECK(h.confirm_op("op-2").phase == OpPhase::confirmed);
  CHECK(h.wait_for([&] { reap(deadman.pid); return !is_alive(deadman); }, Millis(500)));
  ::usleep(1500000);
  CHECK(h.state("op-2").phase == OpPhase::confirmed);
  CHECK(h.current() == "releases/" + one.folder());
}

TEST_CASE("a foreign link at current is kept as the way back") {
  ActivationHost h;
  auto one = h.stage(sleeper("1.0")).release;
  std::string elsewhere = h.dir.mkdir("opt/app-2019");
  REQUIRE(::symlink("../../opt/app-2019", h.unit().current.c_str()) == 0);
  activate(h.host, h.forward("op-1", std::nullopt, one, 1000));
  CHECK(h.current() == "releases/" + one.folder());
  CHECK(h.wait_for([&] { return terminal(h.state("op-1").phase); }, Millis(6000)));
  CHECK(h.state("op-1").phase == OpPhase::reverted);
  CHECK(h.current() == "../../opt/app-2019");
}

TEST_CASE("the switch kills the hook that hangs, and its helper notices") {
  ActivationHost h;
  auto one = h.deploy(sleeper("1.0"));
  auto bad = sleeper("1.1");
  std::string note = h.dir / "hook";
  Service hung = bad.manifest.spec.services[0];
  hung.name = "second";
  hung.run.clear();
  hung.start = Action{{"/bin/sh", "-c", "echo $$ > " + note + "; sleep 600"}, Millis(60000)};
  hung.stop = Action{{"/bin/true"}};
  bad.manifest.spec.services.push_back(hung);
  auto two = h.stage(bad).release;
  Elapsed begin = boot_now();
  auto reply = activate(h.host, h.forward("op-2", one, two, 1000));
  CHECK(boot_now() - begin < Millis(7000));
  CHECK(!reply.healthy);
  CHECK(reply.failed_step == "restart");
  CHECK(reply.output == "operation 'op-2' was ended meanwhile: it is reverted");
  CHECK(reply.state.phase == OpPhase::reverted);
  CHECK(!process_id(std::stoi(text_of(note))));
  CHECK(h.service_folder() == one.folder());
}

TEST_CASE("confirm and the switch race at the deadline: exactly one wins") {
  for (int round = 0; round < 4; ++round) {
    ActivationHost h;
    auto one = h.deploy(sleeper("1.0"));
    auto two = h.stage(sleeper("1.1")).release;
    auto reply = activate(h.host, h.forward("op-2", one, two, 700));
    if (!reply.healthy) continue;  // a slow machine: the switch was first
    auto left = h.state("op-2").deadline_left_ms;
    ::usleep(static_cast<useconds_t>(std::max<std::int64_t>(0, left - 5 + round * 4) * 1000));
    auto state = h.confirm_op("op-2");
    CHECK(h.wait_for([&] { return h.history().find("op-2")->terminal(); }, Millis(6000)));
    int ends = 0;
    for (const auto& kind : h.kinds()) ends += kind == "CONFIRMED" || kind == "REVERTED" || kind == "NEEDS_OPERATOR";
    CHECK(ends == 2);  // of the first deployment, and of this
    bool confirmed = h.state("op-2").phase == OpPhase::confirmed;
    CHECK((state.phase == OpPhase::confirmed) == confirmed);
    CHECK(h.current() == "releases/" + (confirmed ? two : one).folder());
  }
}

TEST_CASE("with an init system the timer is its, and a unit for the next boot is installed") {
  ActivationHost h;
  if (::geteuid() != 0) {
    SUCCEED("needs root");
    return;
  }
  // A stub supervisor: it notes what it is asked.
  h.dir.mkdir("run/systemd/system");
  h.dir.mkdir("etc/systemd/system");
  std::string log = h.dir / "asked", bin = h.dir.mkdir("bin");
  for (const char* name : {"systemd-run", "systemctl"})
    h.dir.write(std::string("bin/") + name, "#!/bin/sh\necho " + std::string(name) + " \"$@\" >> " + log + "\n", 0755);
  std::string path = ::getenv("PATH");
  ::setenv("PATH", (bin + ":" + path).c_str(), 1);
  CHECK(deadman_strength(h.host) == "strong");
  auto one = h.stage(sleeper("1.0")).release;
  auto request = h.forward("op-1", std::nullopt, one, 1500);
  request.demand_strong = true;
  CHECK(activate(h.host, request).healthy);
  CHECK(h.history().find("op-1")->strength == "strong");
  std::string asked = text_of(log);
  CHECK(asked.find("systemd-run --quiet --collect --on-active=") == 0);
  CHECK(asked.find(" --property=KillMode=process --unit=ripcord-deadman-storefront-op-1 " + h.host.program + " deadman --state-dir " +
                   h.host.layout.state + " --unit storefront --unit-root /srv --op op-1 --root " + h.dir.path() + " --now\n") !=
        std::string::npos);
  std::string unit = text_of(h.dir / "etc/systemd/system/ripcord-recover.service");
  CHECK(unit.find("ExecStart=" + h.host.program + " recover --state-dir " + h.host.layout.state) != std::string::npos);
  CHECK(read_link(h.dir / "etc/systemd/system/multi-user.target.wants/ripcord-recover.service") ==
        "/etc/systemd/system/ripcord-recover.service");

  SECTION("confirmed: the timer is stopped") {
    CHECK(h.confirm_op("op-1").phase == OpPhase::confirmed);
    CHECK(text_of(log).find("systemctl stop -- ripcord-deadman-storefront-op-1.timer\n") != std::string::npos);
  }
  SECTION("not confirmed: what the timer starts goes back") {
    ::usleep(1600000);
    int status = deadman_main({"--state-dir", h.host.layout.state, "--unit", "storefront", "--unit-root", "/srv", "--op", "other", "--root",
                               h.dir.path(), "--now"});
    CHECK(status != 0);  // another operation is armed
    auto r = run_process({.argv = {h.host.program, "deadman", "--state-dir", h.host.layout.state, "--unit", "storefront", "--unit-root",
                                   "/srv", "--op", "op-1", "--root", h.dir.path(), "--now"}},
                         Millis(10000));
    CHECK(r.ok());
    CHECK(h.state("op-1").phase == OpPhase::reverted);
    CHECK(h.current().empty());
  }
  ::setenv("PATH", path.c_str(), 1);
}
