// Who may log in to what, and whose releases a host takes.
#include <filesystem>

#include "core/base/files.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/fleet_run.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

void keygen(const std::string& path) {
  Command c;
  c.argv = {"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "release", "-f", path};
  REQUIRE(run_process(c, Millis(20000)).ok());
}

}  // namespace

TEST_CASE("a host with another key than known_hosts says, or with none there, is a hard stop that names it and leaves all hosts alone") {
  FleetRun fleet({.hosts = 3});
  fleet.write_unit("web", {});
  auto good = read_file(fleet.hosts.known_hosts());
  auto h2 = fleet.hosts.host_key_line(2), h3 = fleet.hosts.host_key_line(3);
  REQUIRE(good.find(h2) != good.npos);
  auto at = h2.find(' ');
  auto changed = good;
  changed.replace(changed.find(h2), h2.size(), h2.substr(0, at) + h3.substr(h3.find(' ')));
  write_file_durable(fleet.hosts.known_hosts(), changed, 0644);
  auto wrong = fleet.ripcord({"apply", "web/", "-y"});
  INFO(wrong.output);
  CHECK(wrong.exit == 9);
  CHECK(says(wrong, "ripcord: error: h2: "));

  auto unknown = good;
  unknown.replace(unknown.find(h2), h2.size() + 1, "");
  write_file_durable(fleet.hosts.known_hosts(), unknown, 0644);
  auto absent = fleet.ripcord({"apply", "web@1.0", "-y"});
  INFO(absent.output);
  CHECK(absent.exit == 9);
  CHECK(says(absent, "ripcord: error: h2: "));

  CHECK(fleet.hosts.logins(2) == 0);
  for (int i = 1; i <= 3; ++i) {
    CHECK(fleet.snapshot(i).empty());
    CHECK(fleet.services(i).empty());
  }
  write_file_durable(fleet.hosts.known_hosts(), good, 0644);
  CHECK(fleet.ripcord({"apply", "web@1.0", "-y"}).exit == 0);
  CHECK(fleet.all_run("1.0"));
}

TEST_CASE("a host key that changes in the middle of a rollout stops that host alone; believed again, converge brings it") {
  FleetRun fleet({.hosts = 3});
  fleet.write_plan("unit: web\nstages:\n  - {name: one, hosts: 1}\n  - {name: all, hosts: rest, slow_start: false, approval: true}\n"
                   "window: none\nmax_unreachable: 50%\n");
  WebUnit unit;
  fleet.write_unit("1.0", unit);
  auto first = fleet.ripcord({"apply", "1.0/", "-y", "-q", "--no-wait"});
  INFO(first.output);
  REQUIRE(first.exit == 6);
  const auto file = fleet.hosts.known_hosts(), good = read_file(file);
  auto h3 = fleet.hosts.host_key_line(3), h2 = fleet.hosts.host_key_line(2);
  auto changed = good;
  changed.replace(changed.find(h3), h3.size(), h3.substr(0, h3.find(' ')) + h2.substr(h2.find(' ')));
  write_file_durable(file, changed, 0644);
  REQUIRE(fleet.ripcord({"approve", "web"}).exit == 0);
  auto resumed = fleet.ripcord({"resume", "web"});
  INFO(resumed.output);
  CHECK(resumed.exit == 9);
  CHECK(says(resumed, "h3 unreachable: the host key of 'h3' changed: "));
  CHECK(says(resumed, "`ripcord trust add h3 --replace`"));
  for (int i = 1; i <= 2; ++i) CHECK(fleet.runs(i, "1.0"));
  CHECK(fleet.hosts.logins(3) == 1);  // preflight's
  auto status = fleet.ripcord({"status", "web"});
  INFO(status.output);
  CHECK(status.exit == 9);
  CHECK(says(status, "owed     h3: web@1.0: it missed"));
  write_file_durable(file, good, 0644);
  auto converged = fleet.ripcord({"converge", "-y", "-q", "-m", "the board was changed"});
  INFO(converged.output);
  CHECK(converged.exit == 0);
  CHECK(fleet.all_run("1.0"));
  CHECK(fleet.ripcord({"status", "web"}).exit == 0);
}

TEST_CASE("hosts with a trust file take what the right key signed, and nothing else") {
  FleetRun fleet({.hosts = 2});
  keygen(fleet.folder() + "/ours");
  keygen(fleet.folder() + "/theirs");
  for (int i = 1; i <= 2; ++i) {
    make_dirs(fleet.hosts.seen(i, "/var/lib/ripcord/trust"), 0700);
    write_file_durable(fleet.hosts.seen(i, "/var/lib/ripcord/trust/allowed_signers"), "release@example.com " + read_file(fleet.folder() + "/ours.pub"), 0600);
  }
  WebUnit unit;
  fleet.write_unit("unsigned", unit);
  auto unsigned_one = fleet.ripcord({"apply", "unsigned/", "-y"});
  INFO(unsigned_one.output);
  CHECK(unsigned_one.exit == 9);
  CHECK(says(unsigned_one, "the host takes only signed releases, and this one is not signed; seal it with --key"));

  unit.version = "1.1";
  fleet.write_unit("wrong", unit);
  auto wrong = fleet.ripcord({"apply", "wrong/", "-y", "--key", "theirs"});
  INFO(wrong.output);
  CHECK(wrong.exit == 9);
  CHECK(says(wrong, "h1"));
  for (int i = 1; i <= 2; ++i) {
    CHECK(fleet.current(i).empty());
    CHECK(fleet.count(i, "INTENT") == 0);
    CHECK(fleet.services(i).empty());
  }
  if (fleet.ripcord({"status"}).exit == 6) fleet.ripcord({"abort", "web"});

  unit.version = "1.2";
  fleet.write_unit("right", unit);
  auto right = fleet.ripcord({"apply", "right/", "-y", "--key", "ours"});
  INFO(right.output);
  CHECK(right.exit == 0);
  CHECK(fleet.all_run("1.2"));
}
