// Hosts that are not as one would like them: full, read-only, without root. Nothing is lost, and the message says which host and why.
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "core/base/clock.hpp"
#include "core/base/files.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/fleet_run.hpp"

using namespace ripcord;
using namespace ripcord::test;
namespace fs = std::filesystem;

namespace {

// Inside the host's mount namespace, where later sessions see it.
void in_host(const FleetRun& fleet, int i, std::vector<std::string> words) {
  Command c;
  c.argv = {"nsenter", "-t", std::to_string(fleet.hosts.init(i)), "-m"};
  c.argv.insert(c.argv.end(), words.begin(), words.end());
  auto r = run_process(c, Millis(10000));
  INFO(r.output);
  REQUIRE(r.ok());
}

// Random enough not to compress.
std::string noise(std::size_t size) {
  std::string out(size, 0);
  std::uint64_t x = 88172645463325252ull;
  for (auto& c : out) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    c = static_cast<char>(x);
  }
  return out;
}

}  // namespace

TEST_CASE("a real folder at 'current' is refused before anything changes, and stays as it is") {
  FleetRun fleet({.hosts = 2});
  make_dirs(fleet.hosts.seen(2, "/srv/web/current/by-hand"), 0755);
  auto before = fleet.snapshot(2);
  fleet.write_unit("web", {});
  auto run = fleet.ripcord({"apply", "web/", "-y"});
  INFO(run.output);
  CHECK(run.exit == 8);
  CHECK(says(run, "ripcord: error: h2: 'current' is a real folder, not a link"));
  CHECK(fleet.changed_since(2, before) == "");
  CHECK(fleet.snapshot(1).empty());
}

TEST_CASE("a disk that fills up: named before, named while staging, and the way back needs no room") {
  FleetRun fleet({.hosts = 2});
  in_host(fleet, 1, {"mount", "-t", "tmpfs", "-o", "size=6m,mode=755", "none", "/srv"});
  fleet.write_unit("a", {});
  auto first = fleet.ripcord({"apply", "a/", "-y"});
  INFO(first.output);
  REQUIRE(first.exit == 0);

  WebUnit big;
  big.version = "1.1";
  big.files = {{"code/big", noise(8u << 20)}};
  fleet.write_unit("b", big);
  auto refused = fleet.ripcord({"apply", "b/", "-y"});
  INFO(refused.output);
  CHECK(refused.exit == 8);
  CHECK(says(refused, "ripcord: error: h1: "));
  CHECK(says(refused, " free, and the release needs up to "));
  CHECK(fleet.count(2, "STAGED") == 1);

  // Full between activation and failure: it goes back all the same.
  WebUnit broken;
  broken.version = "1.2";
  broken.config = "healthy = false\n";
  broken.health = "  interval: 100ms\n  min_healthy_time: 100ms\n  healthy_deadline: 3s\n";
  fleet.write_plan("unit: web\nstages:\n  - {name: all, hosts: rest, slow_start: false}\nwindow: none\nmax_failures: 2\n");
  fleet.write_unit("c", broken);
  auto apply = fleet.start({"apply", "c/", "-y"}, "apply.log");
  for (Elapsed until = boot_now() + Millis(20000); boot_now() < until && fleet.count(1, "ACTIVATED") < 2;) ::usleep(10000);
  in_host(fleet, 1, {"sh", "-c", "cat /dev/zero >/srv/full 2>/dev/null; true"});
  auto end = FleetRun::wait(apply);
  INFO(fleet.output("apply.log"));
  CHECK(end.exit == 3);
  auto link = read_link("/proc/" + std::to_string(fleet.hosts.init(1)) + "/root/srv/web/current").value_or("");
  CHECK(link.starts_with("releases/1.0-"));
  CHECK(fleet.answer(1, "/version") == "1.0\n");
  CHECK(fleet.answer(1, "/healthz") == "ok\n");
  CHECK(fleet.version(2) == "1.0");
}

TEST_CASE("a read-only install root fails by name and leaves nothing; other hosts return") {
  FleetRun fleet({.hosts = 2});
  fleet.write_unit("a", {});
  REQUIRE(fleet.ripcord({"apply", "a/", "-y"}).exit == 0);
  in_host(fleet, 2, {"mount", "-o", "remount,bind,ro", "/srv"});
  WebUnit unit;
  unit.version = "1.1";
  fleet.write_unit("b", unit);
  auto run = fleet.ripcord({"apply", "b/", "-y"});
  INFO(run.output);
  CHECK(run.exit == 3);
  CHECK(says(run, "h2"));
  CHECK(says(run, "Read-only file system"));
  CHECK(fleet.all_run("1.0"));
}

TEST_CASE("a state folder that is noexec or read-only is named, and the host is owed: it is no reason to take others back") {
  for (std::string how : {"noexec", "ro"}) {
    FleetRun fleet({.hosts = 1, .state_mount = how});
    fleet.write_unit("web", {});
    auto run = fleet.ripcord({"apply", "web/", "-y"});
    INFO(how << ": " << run.output);
    CHECK(run.exit == 4);
    CHECK(says(run, "h1: "));
    CHECK(says(run, how == "noexec" ? "noexec" : "ead-only"));
    CHECK(fleet.current(1).empty());
    CHECK(fleet.services(1).empty());
  }
}

TEST_CASE("an unprivileged login with sudo deploys as root") {
  FleetRun fleet({.hosts = 2}, "user: deploy, become: sudo, ");
  fleet.write_unit("web", {});
  auto run = fleet.ripcord({"apply", "web/", "-y"});
  INFO(run.output);
  REQUIRE(run.exit == 0);
  CHECK(fleet.all_run("1.0"));
  CHECK(fleet.count(1, "CONFIRMED") == 1);
  struct stat s {};
  REQUIRE(::stat(fleet.hosts.seen(1, "/srv/web/" + fleet.current(1)).c_str(), &s) == 0);
  CHECK(s.st_uid == 0);
  auto again = fleet.ripcord({"rollback", "web", "-y"});
  INFO(again.output);
  CHECK(again.exit == 0);
  CHECK(fleet.services(1).empty());
  CHECK(fleet.current(1).empty());
}

TEST_CASE("a login without any privilege deploys into its own folder, with its state in its home") {
  FleetRun fleet({.hosts = 1}, "user: deploy, ");
  const std::string home = "/var/lib/app/deploy";
  WebUnit unit;
  unit.yaml = "root: " + home + "/srv\n";
  fleet.write_unit("a", unit);
  auto run = fleet.ripcord({"apply", "a/", "-y"});
  INFO(run.output);
  REQUIRE(run.exit == 0);
  auto current = fleet.hosts.seen(1, home + "/srv/web/current");
  CHECK(read_link(current).value_or("").starts_with("releases/1.0-"));
  struct stat s {};
  REQUIRE(::stat(current.c_str(), &s) == 0);
  CHECK(s.st_uid == 2222);
  CHECK(exists(fleet.hosts.seen(1, home + "/.local/state/ripcord/units/web/journal")));
  CHECK_FALSE(exists(fleet.hosts.seen(1, "/var/lib/ripcord/units")));
  CHECK(fleet.answer(1) == "1.0\n");

  unit.version = "1.1";
  unit.config = "healthy = false\n";
  unit.health = "  interval: 100ms\n  min_healthy_time: 100ms\n  healthy_deadline: 1s\n";
  fleet.write_unit("b", unit);
  auto broken = fleet.ripcord({"apply", "b/", "-y"});
  INFO(broken.output);
  CHECK(broken.exit == 3);
  CHECK(read_link(current).value_or("").starts_with("releases/1.0-"));
  CHECK(fleet.answer(1) == "1.0\n");
}
