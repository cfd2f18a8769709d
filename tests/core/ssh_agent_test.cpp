// Key files as ssh-keygen makes them and as nobody should, and agents that misbehave. That signatures are good is proven by
// logging in with each kind of key (link_ssh_test.cpp).
#include "core/net/ssh_agent.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "core/base/process.hpp"
#include "core/base/ssh_wire.hpp"
#include "core/net/known_hosts.hpp"
#include "core/net/link.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

void keygen(const std::string& path, std::vector<std::string> more) {
  Command command;
  command.argv = {"ssh-keygen", "-q", "-f", path, "-C", "c"};
  command.argv.insert(command.argv.end(), more.begin(), more.end());
  auto result = run_process(command, Millis(20000));
  INFO(result.output);
  REQUIRE(result.ok());
}

std::string refusal(const std::string& text) {
  try {
    parse_ssh_key(text, "test");
    return "accepted";
  } catch (const Error& e) {
    return e.message();
  }
}

// An agent that answers every question with the same bytes, and then hangs up or keeps silent.
struct FalseAgent {
  TempDir dir;
  std::string path = dir / "agent";
  Fd listener{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  std::thread thread;
  FalseAgent(std::string answer, bool hang_up) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    std::memcpy(name.sun_path, path.c_str(), path.size() + 1);
    REQUIRE(::bind(listener.get(), reinterpret_cast<sockaddr*>(&name), sizeof name) == 0);
    REQUIRE(::listen(listener.get(), 4) == 0);
    thread = std::thread([this, answer, hang_up] {
      Fd fd(::accept(listener.get(), nullptr, nullptr));
      char question[4096];
      if (::recv(fd.get(), question, sizeof question, 0) <= 0) return;
      ::send(fd.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
      if (!hang_up) ::recv(fd.get(), question, sizeof question, 0);
    });
  }
  ~FalseAgent() {
    ::shutdown(listener.get(), SHUT_RDWR);
    thread.join();
  }
};

Task<> list(SshAgent& agent, Clock& clock, std::string& said) {
  try {
    auto keys = co_await agent.keys(clock.elapsed() + Millis(300));
    said = std::to_string(keys.size()) + " keys";
  } catch (const LinkError& e) {
    said = e.name() + ": " + e.message();
  } catch (const Error& e) {
    said = e.message();
  }
}

std::string listed(const std::string& path) {
  Loop loop;
  SystemClock clock(loop);
  std::string said;
  auto agent = std::make_shared<SshAgent>(loop, clock, path);
  run_to_end(loop, list(*agent, clock, said));
  return said;
}

}  // namespace

TEST_CASE("ssh keys: containers and PEM of each kind are read, and tell the same public half as ssh-keygen") {
  TempDir dir;
  struct Case {
    const char* name;
    std::vector<std::string> options;
  };
  for (const auto& c : {Case{"ed", {"-t", "ed25519", "-N", ""}}, Case{"p256", {"-t", "ecdsa", "-N", ""}}, Case{"p384", {"-t", "ecdsa", "-b", "384", "-N", ""}},
                        Case{"p521", {"-t", "ecdsa", "-b", "521", "-N", ""}}, Case{"rsa", {"-t", "rsa", "-b", "2048", "-N", ""}},
                        Case{"rsapem", {"-t", "rsa", "-b", "2048", "-N", "", "-m", "PEM"}}, Case{"ecpem", {"-t", "ecdsa", "-N", "", "-m", "PEM"}},
                        Case{"ecp8", {"-t", "ecdsa", "-N", "", "-m", "PKCS8"}}}) {
    auto path = dir / c.name;
    keygen(path, c.options);
    INFO(c.name);
    auto key = read_ssh_key_file(path);
    CHECK(key.key != nullptr);
    CHECK(key.public_blob == *parse_public_key_line(read_file(path + ".pub")));
    keygen(path + ".enc", [&] {
      auto o = c.options;
      *std::find(o.begin(), o.end(), "") = "secret";
      return o;
    }());
    auto locked = read_ssh_key_file(path + ".enc");
    CHECK(locked.key == nullptr);
    CHECK(locked.public_blob == *parse_public_key_line(read_file(path + ".enc.pub")));
  }
}

TEST_CASE("ssh keys: damaged, foreign and exposed files are refused with the reason") {
  TempDir dir;
  auto path = dir / "ed";
  keygen(path, {"-t", "ed25519", "-N", ""});
  std::string text = read_file(path);
  CHECK(refusal("hello") == "it is not a private key in PEM form");
  CHECK(refusal(text.substr(0, text.size() / 2)) == "its last line is missing");
  auto body = text.find('\n') + 1;
  std::string damaged = text;
  damaged[body + 5] = '*';
  CHECK(refusal(damaged) == "its base64 is damaged");
  std::string bytes;
  for (char c : text.substr(body, text.find("-----END") - body))
    if (c != '\n') bytes.push_back(c);
  bytes = *unbase64(bytes);
  int accepted = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {  // every byte counts, apart from comment and check numbers that stay equal
    std::string flipped = bytes;
    flipped[i] = static_cast<char>(flipped[i] ^ 1);
    if (refusal("-----BEGIN OPENSSH PRIVATE KEY-----\n" + base64(flipped) + "\n-----END OPENSSH PRIVATE KEY-----") == "accepted") ++accepted;
  }
  CHECK(accepted <= 1 + 8);  // the comment's byte; and "none" spelt otherwise is a cipher that we do not have: an encrypted key
  for (std::size_t n = 0; n < bytes.size(); ++n)
    CHECK(refusal("-----BEGIN OPENSSH PRIVATE KEY-----\n" + base64(bytes.substr(0, n)) + "\n-----END OPENSSH PRIVATE KEY-----") != "accepted");

  ::chmod(path.c_str(), 0644);
  try {
    read_ssh_key_file(path);
    FAIL("accepted");
  } catch (const Error& e) {
    CHECK(e.message() == "cannot use the key '" + path + "': its mode 0644 lets others read it");
    CHECK(e.hint() == "chmod 600 " + path);
  }
}

TEST_CASE("ssh agent: one that is absent, silent, hangs up or talks nonsense is gone by its deadline") {
  TempDir dir;
  CHECK(listed(dir / "none") == "agent_gone: the ssh-agent at '" + (dir / "none") + "' does not answer: No such file or directory (ENOENT)");
  {
    FalseAgent silent("", false);
    CHECK(listed(silent.path) == "agent_gone: the ssh-agent at '" + silent.path + "' does not answer in time");
  }
  {
    FalseAgent rude("", true);
    CHECK(listed(rude.path) == "agent_gone: the ssh-agent at '" + rude.path + "' hung up");
  }
  {
    FalseAgent huge("\x7f\xff\xff\xff", false);
    CHECK(listed(huge.path) == "agent_gone: the ssh-agent at '" + huge.path + "' answers nonsense");
  }
  {
    FalseAgent locked(std::string("\0\0\0\1\5", 5), false);
    CHECK(listed(locked.path) == "agent_gone: the ssh-agent at '" + locked.path + "' refuses to list its keys (is it locked?)");
  }
  {
    FalseAgent short_list(std::string("\0\0\0\5\x0c\0\0\0\2", 9), false);
    CHECK(listed(short_list.path) == "agent_gone: the ssh-agent at '" + short_list.path + "' answers nonsense");
  }
}
