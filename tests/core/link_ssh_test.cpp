// The SSH link against real sshds: the ways in that work.
#include <fcntl.h>
#include <fmt/format.h>
#include <glob.h>
#include <signal.h>
#include <unistd.h>

#include "core/base/process.hpp"
#include "core/base/text.hpp"
#include "tests/core/link_world.hpp"
#include "tests/support/temp_dir.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

// A private ssh-agent; ended by its pid.
struct Agent {
  TempDir dir;
  std::string socket = dir / "agent";
  ProcessId process;
  Agent() {
    Command command;
    command.argv = {"ssh-agent", "-D", "-a", socket};
    process = start_detached(command, "");
    for (int i = 0; i < 200 && !exists(socket); ++i) ::usleep(5000);
  }
  ~Agent() { stop(); }
  void stop() {
    if (process.pid) ::kill(process.pid, SIGKILL), reap(process.pid);
    process.pid = 0;
  }
  void add(const std::string& key, const std::string& passphrase = {}) {
    Command command;
    command.argv = {"ssh-add", "-q", key};
    auto ask = dir.write("askpass", "#!/bin/sh\necho " + passphrase + "\n", 0755);
    command.env = {"SSH_AUTH_SOCK=" + socket, "SSH_ASKPASS=" + ask, "SSH_ASKPASS_REQUIRE=force", "DISPLAY=:0", "PATH=/usr/bin:/bin"};
    auto result = run_process(command, Millis(10000));
    INFO(result.output);
    REQUIRE(result.ok());
  }
};

}  // namespace

TEST_CASE("ssh: first contact pushes the program, the second does not, and bytes come back as they went") {
  SshWorld w;
  std::vector<bool> pushed;
  w.settings.on_opened = [&](const HostAddress&, const LinkTimings& t) { pushed.push_back(t.pushed); };
  auto link = w.link();
  CHECK(w.talk(*link, w.host()).got == "hello");
  CHECK(w.talk(*link, w.host(), std::string("\0\r\n\x04~.", 6), 6).got == std::string("\0\r\n\x04~.", 6));
  CHECK(pushed == std::vector<bool>{true, false});
  CHECK(w.fleet.logins(1) == 2);

  std::string helper = w.fleet.seen(1, "/var/lib/ripcord/helper"), digest = echo_program().digest.hex();
  CHECK(read_file(helper + "/" + digest + "/ripcord-host") == read_file(echo_program().path));
  glob_t found{};
  CHECK(::glob((helper + "/*").c_str(), 0, nullptr, &found) == 0);
  CHECK(found.gl_pathc == 1);  // nothing temporary is left
  ::globfree(&found);
}

TEST_CASE("ssh: key files of each kind log in") {
  SshWorld w;
  for (const char* kind : {"ed25519", "ecdsa", "rsa"}) {
    w.settings.identity = w.fleet.identity(kind);
    auto out = w.talk_once(w.host());
    INFO(kind << ": " << (out.error ? out.error->what() : ""));
    CHECK(out.got == "hello");
  }
}

TEST_CASE("ssh: keys of each kind sign in the agent, an encrypted file is found there") {
  SshWorld w;
  Agent agent;
  w.settings.agent_socket = agent.socket;
  for (const char* kind : {"encrypted", "ecdsa", "rsa", "ed25519"}) {
    auto key = w.fleet.identity(kind);
    agent.add(key, "fleet");
    w.settings.identity = std::string(kind) == "encrypted" ? key : key + ".pub";  // the public half names the agent's key
    auto out = w.talk_once(w.host());
    INFO(kind << ": " << (out.error ? out.error->what() : ""));
    CHECK(out.got == "hello");
  }

  auto link = w.link();
  CHECK(w.talk(*link, w.host()).got == "hello");
  agent.stop();
  auto gone = w.talk(*link, w.host());
  CHECK(name_of(gone) == "agent_gone");
  REQUIRE(gone.error);
  CHECK(gone.error->fault() == LinkFault::ours);
}

TEST_CASE("ssh: a server with only an ECDSA host key is reached, its type chosen from known_hosts") {
  SshdFleetOptions options;
  options.host_keys = {"ecdsa"};
  SshWorld w(options);
  CHECK(w.talk_once(w.host()).got == "hello");

  options.host_keys = {"ed25519", "ecdsa"};  // it has both, known_hosts only the second
  SshWorld both(options);
  TempDir dir;
  both.settings.known_hosts = dir.write("known_hosts", both.fleet.host_key_line(1, "ecdsa") + "\n");
  CHECK(both.talk_once(both.host()).got == "hello");
}

TEST_CASE("ssh: a login shell that prints on both streams is survived") {
  SshWorld w;
  Fd rc = open_file(w.fleet.home(1) + "/.bashrc", O_WRONLY | O_CREAT, 0644);
  write_all(rc.get(), "echo Welcome; echo 'RIPCORD-HOST 0000'; echo trouble >&2; head -c 20000 /dev/zero | tr '\\0' x\n", ".bashrc");
  CHECK(w.talk_once(w.host()).got == "hello");
  CHECK(w.talk_once(w.host()).got == "hello");

  write_all(rc.get(), "head -c 200000 /dev/zero | tr '\\0' x\n", ".bashrc");
  auto out = w.talk_once(w.host());
  CHECK(name_of(out) == "noisy_shell");
}

TEST_CASE("ssh: another user runs it from its home, or as root through sudo; state_dir wins") {
  SshWorld w;
  std::string digest = echo_program().digest.hex();
  auto host = w.host(1, "deploy");
  CHECK(w.talk_once(host, "!who", 20).got == "2222 /var/lib/app/deploy/.local/state/ripcord/helper/" + digest + "/ripcord-host\n");
  host.become = "sudo";
  CHECK(w.talk_once(host, "!who", 20).got == "0 /var/lib/ripcord/helper/" + digest + "/ripcord-host\n");
  host.become = "";
  host.state_dir = "/var/tmp/own.state-1";
  CHECK(w.talk_once(host, "!who", 20).got == "2222 /var/tmp/own.state-1/helper/" + digest + "/ripcord-host\n");
  host.state_dir = "/var/tmp/$(id)";
  auto refused = w.talk_once(host);
  REQUIRE(refused.error);
  CHECK(refused.error->message() ==
        "cannot open a session to 'h1': state_dir '/var/tmp/$(id)' of host 'h1' is not an absolute path of letters, digits and / _ . -");
}

TEST_CASE("ssh: MaxSessions 1 and MaxStartups are lived with") {
  SshdFleetOptions options;
  options.sshd_config = {"MaxSessions 1", "MaxStartups 2:100:3"};
  SshWorld w(options);
  w.settings.max_handshakes = 2;
  auto link = w.link();
  CHECK(w.talk(*link, w.host()).got == "hello");  // four channels one after the other: serve, uname, push, serve
  std::vector<Outcome> outs(12);
  TaskGroup group(w.loop);
  for (auto& out : outs) group.spawn(attempt(*link, w.clock, w.host(), "hello", 5, out));
  run_to_end(w.loop, group.join());
  for (const auto& out : outs) CHECK(name_of(out) == "no error: hello");
}

TEST_CASE("ssh: reconnects after the host was killed and started again") {
  SshWorld w;
  auto link = w.link();
  CHECK(w.talk(*link, w.host()).got == "hello");
  w.fleet.kill(1);
  CHECK(name_of(w.talk(*link, w.host())) == "connect_refused");
  w.fleet.start(1);
  CHECK(w.talk(*link, w.host()).got == "hello");
}

namespace {

Task<> send_all(Channel& channel, std::string bytes) { co_await channel.write(std::move(bytes)); }

Task<> both_ways(Link& link, Clock& clock, Loop& loop, HostAddress host, std::string sent, std::string& got) {
  auto channel = co_await link.open(host, "");
  TaskGroup group(loop);
  group.spawn(send_all(*channel, sent));
  while (got.size() < sent.size()) {
    std::string more = co_await channel->read(clock.elapsed() + Millis(20000));
    if (more.empty()) break;
    got += more;
  }
  co_await group.join();
}

}  // namespace

TEST_CASE("ssh: 20 MiB go both ways at once without deadlock") {
  SshWorld w;
  auto link = w.link();
  std::string sent(20u << 20, '\0'), got;
  for (std::size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<char>(i * 2654435761u >> 13);
  run_to_end(w.loop, both_ways(*link, w.clock, w.loop, w.host(), sent, got));
  CHECK(got.size() == sent.size());
  CHECK(got == sent);
}

TEST_CASE("ssh: through a jump host, on one connection to it") {
  SshdFleetOptions options;
  options.hosts = 6;
  SshWorld w(options);
  w.settings.jump = fmt::format("root@{}:{}", w.fleet.address(1), w.fleet.port());
  w.settings.config = "none";
  auto link = w.link();
  std::vector<Outcome> outs(5);
  TaskGroup group(w.loop);
  for (int i = 0; i < 5; ++i) group.spawn(attempt(*link, w.clock, w.host(i + 2), "hello", 5, outs[static_cast<std::size_t>(i)]));
  run_to_end(w.loop, group.join());
  for (const auto& out : outs) {
    INFO((out.error ? out.error->what() : ""));
    CHECK(name_of(out) == "no error: hello");
  }
  CHECK(w.fleet.logins(1) == 1);

  link.reset();  // takes the master with it
  w.settings.jump = fmt::format("root@{}:1", w.fleet.address(1));
  auto refused = w.talk_once(w.host(2));
  CHECK(name_of(refused) == "jump_failed");
  REQUIRE(refused.error);
  CHECK(refused.error->message().find("Connection refused") != std::string::npos);
}
