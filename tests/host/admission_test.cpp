// What is refused before anything is changed: by where the host stands, who asks, and what is asked.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "core/base/process.hpp"
#include "tests/host/activation_fixture.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;
using namespace ripcord::test;

TEST_CASE("what is current must be what the operation starts from") {
  ActivationHost h;
  auto one = h.deploy(sleeper("1.0"));
  auto two = h.stage(sleeper("1.1")).release;
  auto three = h.stage(sleeper("1.2")).release;
  auto r = refusal([&] { activate(h.host, h.forward("op-2", two, three)); });
  CHECK(r.code == "conflict");
  CHECK(r.message == "unit 'storefront': 'current' names 'releases/" + one.folder() + "', but the operation starts from '" + two.folder() +
                         "'");
  CHECK(refusal([&] { activate(h.host, h.forward("op-3", std::nullopt, three)); }).code == "conflict");
  CHECK(h.state("op-2").phase == OpPhase::none);
  CHECK(h.service_folder() == one.folder());
}

TEST_CASE("a state folder that was emptied under a running service: its release is neither exchanged nor gone forward from") {
  ActivationHost h;
  auto one = h.deploy(sleeper("1.0"));
  const auto pid = h.service_pid();
  REQUIRE(pid);
  std::filesystem::remove_all(h.unit().state);
  CHECK(refusal([&] { h.stage(sleeper("1.0")); }).code == "state_lost");
  auto two = h.stage(sleeper("1.1")).release;  // beside it, and no further
  auto r = refusal([&] { activate(h.host, h.forward("op-2", std::nullopt, two)); });
  CHECK(r.code == "state_lost");
  CHECK(r.message.find("'current' names releases/" + one.folder()) != std::string::npos);
  CHECK(h.current() == "releases/" + one.folder());
  REQUIRE(::unlink(h.unit().current.c_str()) == 0);
  CHECK(refusal([&] { activate(h.host, h.forward("op-3", std::nullopt, two)); }).code == "running_without_release");
  ::kill(*pid, SIGKILL);
  REQUIRE(h.wait_for([&] { reap(*pid); return ::kill(*pid, 0) != 0; }, Millis(5000)));
  CHECK(activate(h.host, h.forward("op-4", std::nullopt, two)).healthy);
  CHECK(h.confirm_op("op-4").phase == OpPhase::confirmed);
  // A link of somebody else's that happens to lie the same way is kept as the way back, as any is.
  ActivationHost other;
  auto mine = other.stage(sleeper("1.0")).release;
  other.dir.mkdir("srv/storefront/releases/20190401");
  REQUIRE(::symlink("releases/20190401", other.unit().current.c_str()) == 0);
  CHECK(activate(other.host, other.forward("op-1", std::nullopt, mine)).healthy);
}

TEST_CASE("lower epochs and other holders are fenced, forward and back") {
  ActivationHost h;
  h.epoch = 5;
  auto one = h.deploy(sleeper("1.0"));
  auto two = h.stage(sleeper("1.1")).release;
  auto request = h.forward("op-2", one, two);
  request.epoch = 4;
  auto low = refusal([&] { activate(h.host, request); });
  CHECK(low.code == "fenced");
  CHECK(low.message == "this host has seen epoch 5 of 'me'; epoch 4 of 'me' may not change it any more");
  request.epoch = 5, request.holder = "other";
  CHECK(refusal([&] { activate(h.host, request); }).code == "fenced");
  request.epoch = 6, request.ledger_id = "elsewhere";
  CHECK(refusal([&] { activate(h.host, request); }).message ==
        "unit 'storefront' of this host belongs to the ledger 'ledger', not to the ledger 'elsewhere'");
  auto seen = fence(h.host, h.ref(), 9, "boss", "");
  CHECK(seen.epoch == 9);
  CHECK(seen.holder == "boss");
  CHECK(refusal([&] { fence(h.host, h.ref(), 8, "boss", ""); }).code == "fenced");
  CHECK(fence(h.host, h.ref(), 9, "boss", "").epoch == 9);
  auto back = h.back("op-4", one, std::nullopt);
  CHECK(refusal([&] { activate(h.host, back); }).code == "fenced");
  CHECK(h.service_folder() == one.folder());
  CHECK(h.history().epoch == 9);
}

TEST_CASE("a confirm with a lower epoch is fenced, with a higher one it counts") {
  ActivationHost h;
  h.epoch = 3;
  auto to = h.stage(sleeper("1.0")).release;
  activate(h.host, h.forward("op-1", std::nullopt, to));
  h.epoch = 2;
  CHECK(refusal([&] { h.confirm_op("op-1"); }).code == "fenced");
  CHECK(h.state("op-1").phase == OpPhase::activated);
  h.epoch = 4;
  CHECK(h.confirm_op("op-1").phase == OpPhase::confirmed);
  CHECK(h.history().epoch == 4);
  CHECK(h.confirm_op("unknown").phase == OpPhase::none);
}

TEST_CASE("a real folder at current, and a running service without a release, are refused") {
  ActivationHost h;
  auto release = sleeper("1.0");
  std::string pidfile = h.dir / "srv/web.pid";
  release.manifest.spec.services[0].run.clear();
  release.manifest.spec.services[0].start = Action{{"/bin/true"}};
  release.manifest.spec.services[0].stop = Action{{"/bin/true"}};
  release.manifest.spec.services[0].pidfile = "/srv/web.pid";
  auto to = h.stage(release).release;
  put(pidfile, std::to_string(::getpid()) + "\n");
  auto r = refusal([&] { activate(h.host, h.forward("op-1", std::nullopt, to)); });
  CHECK(r.code == "running_without_release");
  CHECK(r.message == "unit 'storefront' has no release here, but service 'web' runs (process " + std::to_string(::getpid()) +
                         " of its pidfile)");
  ::mkdir(h.unit().current.c_str(), 0755);
  CHECK(refusal([&] { activate(h.host, h.forward("op-1", std::nullopt, to)); }).code == "folder_at_current");
  CHECK(h.state("op-1").phase == OpPhase::none);
  ::rmdir(h.unit().current.c_str());
}

TEST_CASE("malformed requests change nothing") {
  ActivationHost h;
  auto to = h.stage(sleeper("1.0")).release;
  CHECK(refusal([&] { activate(h.host, h.forward("../x", std::nullopt, to)); }).code == "bad_request");
  CHECK(refusal([&] { activate(h.host, h.forward("", std::nullopt, to)); }).code == "bad_request");
  CHECK(refusal([&] { activate(h.host, h.forward("op", std::nullopt, to, 0)); }).code == "bad_request");
  CHECK(refusal([&] { activate(h.host, h.forward("op", std::nullopt, ReleaseId{"9", to.manifest, to.tree})); }).code == "missing_release");
  auto strong = h.forward("op", std::nullopt, to);
  strong.demand_strong = true;
  CHECK(refusal([&] { activate(h.host, strong); }).code == "weak_deadman");
  h.host.program = "/no/such/program";
  auto r = refusal([&] { activate(h.host, h.forward("op-5", std::nullopt, to)); });
  CHECK(r.code == "cannot_arm");
  CHECK(r.message ==
        "the dead-man switch cannot be armed: cannot execute '/no/such/program': No such file or directory (ENOENT)");
  CHECK(h.state("op-5").phase == OpPhase::failed_unchanged);
  CHECK(h.current().empty());
  CHECK(h.nothing_left());
}
