// The SSH link against real sshds: what is refused, lost, frozen or misconfigured ends with its name, its cure, by its deadline.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>

#include "core/base/ssh_wire.hpp"
#include "core/base/text.hpp"
#include "core/net/ssh_key.hpp"
#include "tests/core/link_world.hpp"
#include "tests/support/temp_dir.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

std::string host_blob(const SshWorld& w, int i = 1) {
  auto line = w.fleet.host_key_line(i);
  return *parse_public_key_line(line.substr(line.find(' ') + 1));
}

}  // namespace

TEST_CASE("ssh: an unknown host key stops, and the message holds the line to add") {
  SshWorld w;
  TempDir dir;
  w.settings.known_hosts = dir.write("known_hosts", "# nothing\n");
  auto out = w.talk_once(w.host());
  REQUIRE(out.error);
  CHECK(out.error->name() == "host_key_unknown");
  CHECK(out.error->fault() == LinkFault::trust);
  CHECK(out.error->exit() == Exit::integrity);
  CHECK(out.error->message() == "the host key of 'h1' is not known: it shows ssh-ed25519 " + ssh_fingerprint(host_blob(w)));
  CHECK(out.error->hint() == "compare it on the host itself: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub, then `ripcord trust add h1`, or add to " + w.settings.known_hosts + ": " + w.fleet.host_key_line(1));
  CHECK(w.fleet.logins(1) == 0);

  dir.write("known_hosts", w.fleet.host_key_line(1) + "\n");  // somebody adds it while we run
  CHECK(w.talk_once(w.host()).got == "hello");
}

TEST_CASE("ssh: a changed host key and a revoked one stop") {
  SshdFleetOptions options;
  options.hosts = 2;
  SshWorld w(options);
  TempDir dir;
  std::string other = w.fleet.host_key_line(2);
  std::string where = fmt::format("[{}]:{}", w.fleet.address(1), w.fleet.port());
  w.settings.known_hosts = dir.write("known_hosts", "bad line\n" + where + other.substr(other.find(' ')) + "\n");
  auto changed = w.talk_once(w.host());
  REQUIRE(changed.error);
  CHECK(changed.error->name() == "host_key_changed");
  CHECK(changed.error->message() == "the host key of 'h1' changed: " + w.settings.known_hosts + ":2 holds ssh-ed25519 " +
                                        ssh_fingerprint(host_blob(w, 2)) + ", the host shows " + ssh_fingerprint(host_blob(w, 1)));

  std::string line = w.fleet.host_key_line(1);
  dir.write("known_hosts", line + "\n@revoked *" + line.substr(line.find(' ')) + "\n");
  auto revoked = w.talk_once(w.host());
  CHECK(name_of(revoked) == "host_key_revoked");
  CHECK(w.fleet.logins(1) == 0);
}

TEST_CASE("ssh: a key the server does not take is tried once, and the message says what it would take") {
  SshWorld w;
  w.settings.identity = w.fleet.identity("unknown");
  auto out = w.talk_once(w.host());
  REQUIRE(out.error);
  CHECK(out.error->name() == "auth_failed");
  auto blob = *parse_public_key_line(read_file(w.settings.identity + ".pub"));
  CHECK(out.error->message() == "'h1' does not let 'root' in: it refused " + w.settings.identity + " (ssh-ed25519 " + ssh_fingerprint(blob) +
                                    "); it would take publickey");
}

TEST_CASE("ssh: keys that cannot be used are named with the cure") {
  SshWorld w;
  w.settings.identity = w.fleet.identity("encrypted");
  auto locked = w.talk_once(w.host());
  REQUIRE(locked.error);
  CHECK(locked.error->name() == "key_unreadable");
  CHECK(locked.error->fault() == LinkFault::ours);
  CHECK(locked.error->message() == "no key to log in with: the key '" + w.settings.identity + "' has a passphrase and no agent holds it");
  CHECK(locked.error->hint() == "ssh-add " + w.settings.identity);

  w.settings.identity = w.fleet.folder() + "/keys/absent";
  auto absent = w.talk_once(w.host());
  REQUIRE(absent.error);
  CHECK(absent.error->message() == "no key to log in with: cannot read the key '" + w.settings.identity + "': No such file or directory (ENOENT)");
  w.settings.agent_socket = w.fleet.folder() + "/no-agent";
  CHECK(name_of(w.talk_once(w.host())) == "key_unreadable");
}

TEST_CASE("ssh: silence ends by its deadline: a black hole, a frozen sshd, a session that froze") {
  SshWorld w;
  CHECK(w.talk_once(w.host()).got == "hello");
  auto patient = w.settings.timeouts;
  w.settings.timeouts = {Millis(400), Millis(600), Millis(600), Millis(2000)};

  Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));  // the kernel accepts, nobody answers
  sockaddr_in at{};
  at.sin_family = AF_INET;
  ::inet_pton(AF_INET, w.fleet.address(9).c_str(), &at.sin_addr);
  REQUIRE(::bind(listener.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
  REQUIRE(::listen(listener.get(), 1) == 0);
  socklen_t size = sizeof at;
  ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&at), &size);
  auto host = w.host();
  host.address = w.fleet.address(9);
  host.port = ntohs(at.sin_port);
  auto hole = w.talk_once(host);
  REQUIRE(hole.error);
  CHECK(hole.error->name() == "handshake_timeout");
  CHECK(hole.error->message().starts_with("'h1' accepted the connection, but sent no SSH banner within "));
  CHECK(hole.took < Millis(5000));  // 1 s, and what a busy machine adds

  w.fleet.freeze(1);
  auto frozen = w.talk_once(w.host());
  CHECK(name_of(frozen) == "handshake_timeout");
  CHECK(frozen.took < Millis(5000));
  w.fleet.thaw(1);
  w.settings.timeouts = patient;
  CHECK(w.talk_once(w.host()).got == "hello");
}

namespace {

Task<> freeze_inside(Link& link, Clock& clock, SshdFleet& fleet, HostAddress host, std::vector<std::string>& names) {
  auto channel = co_await link.open(host, "hello");
  co_await channel->read(clock.elapsed() + Millis(10000));
  fleet.freeze(1);
  std::string big(8u << 20, 'x');
  for (int i = 0; i < 2; ++i) try {
      if (i == 0) co_await channel->read(clock.elapsed() + Millis(300));
      else co_await channel->write(big);
      names.push_back("no error");
    } catch (const LinkError& e) {
      names.push_back(e.name());
    }
  fleet.thaw(1);
}

Task<> read_name(Channel& channel, Clock& clock, std::string& name) {
  try {
    co_await channel.read(clock.elapsed() + Millis(5000));
    name = "no error";
  } catch (const LinkError& e) {
    name = e.name();
  }
}

Task<> close_under_reader(Link& link, Loop& loop, Clock& clock, HostAddress host, SshdFleet* kill, std::string& name) {
  auto channel = co_await link.open(host, "hello");
  co_await channel->read(clock.elapsed() + Millis(10000));
  TaskGroup group(loop);
  group.spawn(read_name(*channel, clock, name));
  co_await sleep_until(clock, clock.elapsed() + Millis(50));
  if (kill) kill->kill(1);
  else channel->close();
  co_await group.join();
}

}  // namespace

TEST_CASE("ssh: a session that froze is noticed by readers and writers") {
  SshWorld w;
  CHECK(w.talk_once(w.host()).got == "hello");  // the push is over: only the frozen write meets the short deadline
  w.settings.stall = Millis(1000);
  auto link = w.link();
  std::vector<std::string> names;
  run_to_end(w.loop, freeze_inside(*link, w.clock, w.fleet, w.host(), names));
  CHECK(names == std::vector<std::string>{"silent", "silent"});
}

TEST_CASE("ssh: close() wakes the reader, a killed host does too") {
  SshWorld w;
  auto link = w.link();
  std::string name;
  run_to_end(w.loop, close_under_reader(*link, w.loop, w.clock, w.host(), nullptr, name));
  CHECK(name == "closed");
  name.clear();
  run_to_end(w.loop, close_under_reader(*link, w.loop, w.clock, w.host(), &w.fleet, name));
  CHECK(name == "closed");
}

TEST_CASE("ssh: addresses that lead nowhere") {
  SshWorld w;
  auto host = w.host();
  host.address = "no-such-host.invalid";
  auto none = w.talk_once(host);
  CHECK((name_of(none) == "no_address" || name_of(none) == "connect_timeout"));
  host.address = "-oProxyCommand=id";
  CHECK(name_of(w.talk_once(host)) == "settings");
  host = w.host();
  host.port = 1;
  auto refused = w.talk_once(host);
  REQUIRE(refused.error);
  CHECK(refused.error->message() == "cannot connect to 'h1' (" + host.address + " port 1): Connection refused (ECONNREFUSED)");
}

TEST_CASE("ssh: a state folder that cannot run programs, takes none, or has no room is named") {
  struct Case {
    const char *mount, *name;
  };
  for (auto c : {Case{"noexec", "noexec"}, Case{"ro", "read_only"}, Case{"tiny", "no_space"}}) {
    SshdFleetOptions options;
    options.state_mount = c.mount;
    SshWorld w(options);
    auto out = w.talk_once(w.host());
    INFO((out.error ? out.error->what() : ""));
    CHECK(name_of(out) == c.name);
    REQUIRE(out.error);
    CHECK(out.error->fault() == LinkFault::host);
    auto host = w.host();
    host.state_dir = "/var/tmp/elsewhere";  // the cure in the hint
    CHECK(w.talk_once(host).got == "hello");
  }
}

TEST_CASE("ssh: servers that refuse what we need are named") {
  struct Case {
    const char *line, *name, *part;
  };
  for (auto c : {Case{"ForceCommand /bin/echo nothing of yours", "exec_refused", "nothing of yours"},
                 Case{"MaxSessions 0", "exec_refused", "not start a program"},
                 Case{"Ciphers aes256-gcm@openssh.com", "handshake_failed",
                      "no cipher algorithm in common with 'h1' (SSH-2.0-OpenSSH"},
                 Case{"MACs hmac-sha2-256-etm@openssh.com", "handshake_failed", "it offers hmac-sha2-256-etm@openssh.com; ripcord has hmac-sha2-256,hmac-sha2-512"},
                 Case{"AuthenticationMethods publickey,keyboard-interactive\nKbdInteractiveAuthentication yes", "auth_failed", "it would take keyboard-interactive"},
                 Case{"DenyUsers root", "auth_failed", "does not let 'root' in"}}) {
    SshdFleetOptions options;
    options.sshd_config = {c.line};
    SshWorld w(options);
    auto out = w.talk_once(w.host());
    INFO(c.line << ": " << (out.error ? out.error->what() : out.got));
    CHECK(name_of(out) == c.name);
    REQUIRE(out.error);
    CHECK(out.error->message().find(c.part) != std::string::npos);
    CHECK(!out.error->hint().empty());
  }
}

TEST_CASE("ssh: sudo that asks for a password is named") {
  SshdFleetOptions options;
  options.sudo = "password";
  SshWorld w(options);
  auto host = w.host(1, "deploy");
  host.become = "sudo";
  auto out = w.talk_once(host);
  REQUIRE(out.error);
  CHECK(out.error->name() == "sudo_needs_password");
  CHECK(out.error->message() == "cannot start the program on 'h1': sudo asks for a password");
}

TEST_CASE("ssh: a program for another machine is not run, and no shell mistakes it for a script") {
  SshWorld w;
  TempDir dir;
  std::string elf = read_file(echo_program().path);
  elf[18] = static_cast<char>(183);  // e_machine: aarch64
  elf[19] = 0;
  auto path = dir.write("foreign", elf, 0755);
  auto foreign = Program{sha256(elf), path};
  auto only = make_ssh_link(w.loop, w.clock, w.settings, {foreign});
  auto out = w.talk(*only, w.host());
  REQUIRE(out.error);
  CHECK(out.error->name() == "wrong_arch");
  CHECK(out.error->message() == "'h1' is x86_64, and there is a program for aarch64 only");
  auto both = make_ssh_link(w.loop, w.clock, w.settings, {foreign, echo_program()});
  CHECK(w.talk(*both, w.host()).got == "hello");

  auto changed = make_ssh_link(w.loop, w.clock, w.settings, {Program{sha256("other"), path}});
  CHECK(name_of(w.talk(*changed, w.host())) == "push_failed");
}

TEST_CASE("ssh: a dead host beside live ones costs them nothing") {
  SshdFleetOptions options;
  options.hosts = 5;
  SshWorld w(options);
  w.settings.timeouts = {Millis(2000), Millis(4000), Millis(10000), Millis(20000)};
  auto link = w.link();
  w.fleet.freeze(3);
  std::vector<Outcome> outs(5);
  TaskGroup group(w.loop);
  for (int i = 0; i < 5; ++i) group.spawn(attempt(*link, w.clock, w.host(i + 1), "hello", 5, outs[static_cast<std::size_t>(i)]));
  run_to_end(w.loop, group.join());
  for (std::size_t i = 0; i < 5; ++i) CHECK(name_of(outs[i]) == (i == 2 ? "handshake_timeout" : "no error: hello"));
}

TEST_CASE("ssh: a run that is cut short destroys link, clock and loop under sessions in every state") {
  SshdFleetOptions options;
  options.hosts = 4;
  SshWorld hosts(options);
  hosts.settings.max_sessions = 3;  // some still wait for their turn
  int opened = 0;
  auto w = std::make_unique<LinkWorld>();
  auto link = make_ssh_link(w->loop, w->clock, hosts.settings, {echo_program()});
  hosts.fleet.freeze(2);
  for (int i = 1; i <= 8; ++i)
    spawn(w->loop, open_and_wait(*link, w->clock, hosts.host(1 + i % 4), opened), [](std::exception_ptr) {});
  CHECK_THROWS_AS(run_to_end(w->loop, give_up(w->clock, opened, 1)), CutShort);
  link.reset();
  w.reset();
  CHECK(opened >= 1);
}
