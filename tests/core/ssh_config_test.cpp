#include "core/net/ssh_config.hpp"

#include <cstdlib>

#include "core/base/clock.hpp"
#include "core/base/files.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

Task<> ask(SshConfig& config, std::string address, std::string user, SshHostSettings& out) {
  HostAddress host;
  host.name = host.address = address;
  host.user = user;
  out = co_await config.resolve(host);
}

struct Asked {
  Loop loop;
  SystemClock clock{loop};
  SshHostSettings of(SshConfig& config, const std::string& address, const std::string& user = {}) {
    SshHostSettings out;
    run_to_end(loop, ask(config, address, user, out));
    return out;
  }
};

}  // namespace

TEST_CASE("ssh_config: what the file says, once asked, is kept until the file changes") {
  Asked w;
  TempDir dir;
  auto more = dir.write("more", "Host web-*\n  HostName %h.example.org\n  ConnectTimeout 7\n");
  auto text = "Include " + more + "\nHost *\n  User ops\n  Port 2022\n  IdentityFile ~/.ssh/%r_key\n  IdentitiesOnly yes\n"
              "  UserKnownHostsFile /etc/kh1 ~/kh2\n  GlobalKnownHostsFile none\n  ProxyJump gate.example.org\n  HostKeyAlias fixed\n";
  auto path = dir.write("config", text);
  auto cache = dir / "cache";
  {
    SshConfig config(w.loop, w.clock, path, cache);
    auto s = w.of(config, "web-1");
    CHECK(s.hostname == "web-1.example.org");
    CHECK(s.user == "ops");
    CHECK(s.port == 2022);
    CHECK(s.identity_files == std::vector<std::string>{home_folder() + "/.ssh/ops_key"});
    CHECK(s.identities_only);
    CHECK(s.known_hosts_files == std::vector<std::string>{"/etc/kh1", home_folder() + "/kh2"});
    CHECK(s.proxy_jump == "gate.example.org");
    CHECK(s.host_key_alias == "fixed");
    CHECK(s.connect_timeout == Millis(7000));
    CHECK(w.of(config, "web-1", "me").user == "me");
    CHECK(w.of(config, "db").hostname == "db");
    CHECK(config.asked() == 3);
  }
  {
    SshConfig second(w.loop, w.clock, path, cache);
    CHECK(w.of(second, "web-1").hostname == "web-1.example.org");
    CHECK(second.asked() == 0);
  }
  dir.write("more", "Host web-*\n  HostName other\n");  // an included file counts
  SshConfig third(w.loop, w.clock, path, cache);
  CHECK(w.of(third, "web-1").hostname == "other");
  CHECK(third.asked() == 1);
}

TEST_CASE("ssh_config: without a file nothing is asked") {
  Asked w;
  SshConfig config(w.loop, w.clock, "none", "");
  auto s = w.of(config, "web-1");
  CHECK(config.asked() == 0);
  CHECK(s.hostname == "web-1");
  CHECK(s.port == 22);
  CHECK(s.user == login_name());
  CHECK(s.identity_files.front() == home_folder() + "/.ssh/id_ed25519");
}

TEST_CASE("ssh_config: what may change without the file changing is not kept") {
  TempDir dir;
  CHECK(ssh_config_digest({dir.write("a", "Host *\n  User x\n")}));
  CHECK(!ssh_config_digest({dir.write("b", "Match exec \"test -f /x\"\n")}));
  CHECK(!ssh_config_digest({dir.write("c", "Include ${HOME}/x\n")}));
  auto one = ssh_config_digest({dir.write("d", "Include " + (dir / "d.d") + "/*\n")});
  dir.write("d.d/new", "Host y\n");
  CHECK(one != ssh_config_digest({dir / "d"}));
}

TEST_CASE("ssh_config: a file that ssh rejects is an error with ssh's words") {
  Asked w;
  TempDir dir;
  SshConfig config(w.loop, w.clock, dir.write("config", "Nonsense yes\n"), "");
  try {
    w.of(config, "web-1");
    FAIL("no error");
  } catch (const Error& e) {
    CHECK(e.message().find("Bad configuration option: nonsense") != std::string::npos);
  }
}
