// What tests of links share: a loop, a clock, the stand-in program, and conversations that end by a deadline.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "core/base/clock.hpp"
#include "core/base/files.hpp"
#include "core/net/link_ssh.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/sshd_fleet.hpp"

namespace ripcord::test {

inline Program echo_program() {
  std::string path = std::string(RIPCORD_BUILD_DIR) + "/tests/echo-host";
  return {sha256(read_file(path)), path};
}

// Opens, sends `first`, reads `expected` bytes (0: until the program ends), closes.
inline Task<std::string> converse(Link& link, Clock& clock, HostAddress host, std::string first, std::size_t expected) {
  auto channel = co_await link.open(host, first);
  std::string got;
  Elapsed deadline = clock.elapsed() + Millis(10000);
  while (expected == 0 || got.size() < expected) {
    std::string more = co_await channel->read(deadline);
    if (more.empty()) break;
    got += more;
  }
  co_return got;
}

struct Outcome {
  std::string got;
  std::optional<LinkError> error;
  Millis took{0};
};

inline Task<> attempt(Link& link, Clock& clock, HostAddress host, std::string first, std::size_t expected, Outcome& out) {
  Elapsed begun = clock.elapsed();
  try {
    out.got = co_await converse(link, clock, host, first, expected);
  } catch (const LinkError& e) {
    out.error = e;
  }
  out.took = clock.elapsed() - begun;
}

struct LinkWorld {
  Loop loop;
  SystemClock clock{loop};

  Outcome talk(Link& link, const HostAddress& host, const std::string& first = "hello", std::size_t expected = 5) {
    Outcome out;
    run_to_end(loop, attempt(link, clock, host, first, expected, out));
    return out;
  }
};

struct SshWorld : LinkWorld {
  explicit SshWorld(SshdFleetOptions options = {}) : fleet(std::move(options)) {
    settings.identity = fleet.identity();
    settings.known_hosts = fleet.known_hosts();
    settings.config = "none";
    settings.agent_socket = "none";
  }
  HostAddress host(int i = 1, const std::string& user = "root") const {
    HostAddress h;
    h.name = fleet.name(i);
    h.address = fleet.address(i);
    h.port = fleet.port();
    h.user = user;
    return h;
  }
  std::unique_ptr<Link> link() { return make_ssh_link(loop, clock, settings, {echo_program()}); }
  Outcome talk_once(const HostAddress& to, const std::string& first = "hello", std::size_t expected = 5) {
    auto l = link();
    return talk(*l, to, first, expected);
  }

  SshdFleet fleet;
  SshSettings settings;
};

// A run that is cut short while sessions are open: it ends by CutShort once so many have answered.
struct CutShort {};

inline Task<> open_and_wait(Link& link, Clock& clock, HostAddress host, int& opened) {
  auto channel = co_await link.open(host, "hello");
  co_await channel->read(clock.elapsed() + Millis(5000));
  ++opened;
  co_await channel->read(clock.elapsed() + Millis(3600 * 1000));
}

inline Task<> give_up(Clock& clock, int& opened, int enough) {
  while (opened < enough) co_await sleep_until(clock, clock.elapsed() + Millis(5));
  throw CutShort{};
}

// The name of the error, or "no error: <what was said>".
inline std::string name_of(const Outcome& out) { return out.error ? out.error->name() : "no error: " + out.got; }

}  // namespace ripcord::test
