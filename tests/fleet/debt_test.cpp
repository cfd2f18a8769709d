// Convergence debt and trust against real servers: a host that has no power while everybody else gets a release, comes back with another
// key, and is brought where the others are.
#include "core/base/files.hpp"
#include "core/base/ssh_wire.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/fleet_run.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

std::string fingerprint(const std::string& line) {  // of a line of known_hosts
  auto blob = unbase64(line.substr(line.rfind(' ') + 1));
  REQUIRE(blob);
  return ssh_fingerprint(*blob);
}

void replace_in(const std::string& file, const std::string& from, const std::string& to) {
  auto text = read_file(file);
  REQUIRE(text.find(from) != text.npos);
  write_file_durable(file, text.replace(text.find(from), from.size(), to), 0644);
}

}  // namespace

TEST_CASE("a server without power is owed; its new key is trusted by its fingerprint alone; converge makes all clean", "[debt]") {
  FleetRun fleet({.hosts = 3});
  fleet.write_plan("unit: web\nstages:\n  - {name: all, hosts: rest, slow_start: false}\nwindow: none\nmax_unreachable: 50%\n");
  auto done = [&](std::vector<std::string> words, int exit = 0) {
    auto r = fleet.ripcord(std::move(words));
    INFO(r.output);
    CHECK(r.exit == exit);
    return r;
  };
  WebUnit unit;
  fleet.write_unit("1.0", unit);
  unit.version = "1.1";
  fleet.write_unit("1.1", unit);
  done({"apply", "1.0/", "-y", "-q"});
  fleet.hosts.kill(3);
  done({"apply", "1.1/", "-y", "-q"}, 4);
  CHECK(says(done({"status"}, 4), "owed     h3: web@1.1: it missed r-"));
  CHECK(says(done({"prune", "web", "-y"}, 8), "1 host of 'web' is owed"));
  CHECK(says(done({"converge", "-y", "-m", "too early"}, 4), "h3 did not answer, and stays owed"));
  fleet.hosts.start(3);

  // It shows another key than known_hosts has: nobody logs in, and nothing is written without the right word.
  const auto file = fleet.hosts.known_hosts(), good = read_file(file);
  auto ours = fleet.hosts.host_key_line(3), others = fleet.hosts.host_key_line(2);
  auto wrong = ours.substr(0, ours.find(' ')) + others.substr(others.find(' '));
  replace_in(file, ours, wrong);
  auto changed = done({"converge", "-y", "-m", "back"}, 9);
  CHECK(says(changed, "ripcord trust add h3 --replace"));
  const auto before = read_file(file);
  const int logins = fleet.hosts.logins(3);
  CHECK(says(done({"trust", "add", "h3"}, 9), "holds " + fingerprint(others) + " for it"));
  CHECK(says(done({"trust", "add", "h3", "--replace"}, 8), "--fingerprint " + fingerprint(ours)));
  done({"trust", "add", "h3", "--replace", "--fingerprint", fingerprint(others)}, 9);
  done({"trust", "add", "h3", "--replace", "--fingerprint", "MD5:00"}, 64);
  CHECK(says(done({"trust", "add", "h9"}, 8), "host 'h9' is not in the fleet file"));
  CHECK(read_file(file) == before);
  CHECK(says(done({"trust", "add", "h3", "--replace", "--fingerprint", fingerprint(ours), "-m", "new board"}), "replaced"));
  CHECK(read_file(file) == good);
  CHECK(says(done({"trust", "add", "h3"}), "known already"));
  CHECK(says(done({"history"}), "host key of h3 replaced: ssh-ed25519 " + fingerprint(ours)));
  // One that is not known at all.
  replace_in(file, ours + "\n", "");
  CHECK(says(done({"trust", "add", "h3"}, 8), "compare it, then say --fingerprint " + fingerprint(ours)));
  CHECK(says(done({"trust", "add", "h3", "--fingerprint", fingerprint(ours)}), "added"));
  CHECK(read_file(file).ends_with(ours + "\n"));
  CHECK(fleet.hosts.logins(3) == logins);

  auto converged = done({"converge", "-y", "-m", "power is back"});
  CHECK(says(converged, "h3 confirmed 1.1"));
  CHECK(fleet.all_run("1.1"));
  done({"status"});
  CHECK(done({"drift"}).output.empty());
  done({"prune", "web", "-y", "-q"});
}

TEST_CASE("the first key of a fleet without known_hosts of its own: what counted until then still counts", "[debt]") {
  FleetRun fleet({.hosts = 2});
  const auto good = read_file(fleet.hosts.known_hosts());
  const auto h1 = fleet.hosts.host_key_line(1), h2 = fleet.hosts.host_key_line(2);
  make_dirs(fleet.folder() + "/.ssh", 0700);
  fleet.write(".ssh/known_hosts", h1 + "\n");
  replace_in(fleet.folder() + "/fleet.yaml", ", known_hosts: " + fleet.hosts.known_hosts(), "");
  fleet.write("ssh_config", "UserKnownHostsFile " + fleet.folder() + "/.ssh/known_hosts\nGlobalKnownHostsFile none\n");
  replace_in(fleet.folder() + "/fleet.yaml", "ssh: {", "ssh: {config: ssh_config, ");
  CHECK(fleet.ripcord({"doctor", "--limit", "host=h2"}).exit == 9);
  auto added = fleet.ripcord({"trust", "add", "h2", "--fingerprint", fingerprint(h2)});
  INFO(added.output);
  CHECK(added.exit == 0);
  CHECK(read_file(fleet.folder() + "/known_hosts") == h1 + "\n" + h2 + "\n");
  auto doctor = fleet.ripcord({"doctor"});
  INFO(doctor.output);
  CHECK(doctor.exit == 0);
}
