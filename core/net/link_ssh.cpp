#include "core/net/link_ssh.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <random>

#include "core/base/text.hpp"
#include "core/net/bootstrap.hpp"
#include "core/net/ssh_config.hpp"
#include "core/net/ssh_door.hpp"
#include "core/net/ssh_helper.hpp"
#include "core/net/ssh_session.hpp"
#include "core/net/turns.hpp"

namespace ripcord {
namespace {

constexpr int kRetries = 3;             // after a connection dropped before its banner
constexpr Millis kFirstPause{400};      // full jitter: a random part of 400 ms, 800 ms, 1.6 s

class SshChannel : public Channel {
 public:
  SshChannel(std::shared_ptr<SshSession> session, StartedHelper helper, Millis stall)
      : session_(std::move(session)), exec_(std::move(helper.exec)), first_(std::move(helper.rest)), stall_(stall) {}
  ~SshChannel() override { session_->shut(); }

  // The locals keep both alive when the channel is closed under a waiting coroutine.
  Task<> write(std::string bytes) override {
    auto exec = exec_;
    co_await exec->write(std::move(bytes), stall_);
  }
  Task<std::string> read(Elapsed deadline) override {
    auto exec = exec_;
    if (!first_.empty() && !session_->is_shut()) co_return std::exchange(first_, {});
    std::string bytes = co_await exec->read(deadline);
    co_return bytes;
  }
  void close() override { session_->shut(); }
  std::string error_tail() const override { return exec_->error_tail(); }

 private:
  std::shared_ptr<SshSession> session_;
  std::shared_ptr<SshExec> exec_;
  std::string first_;
  Millis stall_;
};

class SshLink : public Link {
 public:
  SshLink(Loop& loop, Clock& clock, SshSettings settings, std::vector<Program> programs)
      : clock_(clock), settings_(std::move(settings)), config_(loop, clock, settings_.config, settings_.cache_dir),
        door_(loop, clock, settings_, config_.config()), helpers_(clock, std::move(programs), settings_.timeouts.start, settings_.stall),
        opening_(static_cast<std::size_t>(std::max(1, settings_.max_sessions))) {}

  Task<std::unique_ptr<Channel>> open(HostAddress host, std::string first) override;

 private:
  Task<std::unique_ptr<Channel>> open_inside(HostAddress host, std::string first);
  Task<std::shared_ptr<SshSession>> enter(HostAddress host, SshHostSettings to, LinkTimings* timings);

  Clock& clock_;
  SshSettings settings_;
  SshConfig config_;
  SshDoor door_;
  SshHelpers helpers_;
  Turns opening_;
  std::minstd_rand random_{std::random_device{}()};
};

void check_address(const HostAddress& host) {
  auto bad = [](char c) { return !(c > ' ' && c < 0x7f) || c == '\'' || c == '"' || c == '\\'; };
  if (host.address.empty() || host.address.front() == '-' || std::any_of(host.address.begin(), host.address.end(), bad))
    throw Error(fmt::format("the address '{}' of host '{}' is not one", escape_terminal(host.address), host.name), {}, Exit::invalid_file);
}

// Only a connection that was dropped before its banner is tried again: everything else would fail the same way, and servers
// penalise addresses whose logins fail.
Task<std::shared_ptr<SshSession>> SshLink::enter(HostAddress host, SshHostSettings to, LinkTimings* timings) {
  Elapsed deadline = clock_.elapsed() + settings_.timeouts.connect + settings_.timeouts.handshake;
  for (int attempt = 0;; ++attempt) {
    std::exception_ptr dropped;
    try {
      auto session = co_await door_.enter(host, to, timings);
      co_return session;
    } catch (const LinkError& e) {
      if (e.name() != "dropped" || attempt == kRetries) throw;
      dropped = std::current_exception();
    }
    Millis pause(std::uniform_int_distribution<long>(0, kFirstPause.count() << attempt)(random_));
    Elapsed until = clock_.elapsed() + pause;
    if (until >= deadline) std::rethrow_exception(dropped);
    co_await sleep_until(clock_, until);
  }
}

Task<std::unique_ptr<Channel>> SshLink::open(HostAddress host, std::string first) {
  try {
    auto channel = co_await open_inside(host, std::move(first));
    co_return channel;
  } catch (const LinkError&) {
    throw;
  } catch (const Error& e) {  // a setting, a file or a descriptor of ours
    throw LinkError(LinkFault::ours, "settings", fmt::format("cannot open a session to '{}': {}", host.name, e.message()), e.hint());
  }
}

Task<std::unique_ptr<Channel>> SshLink::open_inside(HostAddress host, std::string first) {
  check_address(host);
  if (host.port == 0) host.port = settings_.port;
  if (host.user.empty()) host.user = settings_.user;
  auto turn = co_await opening_.next();
  auto to = co_await config_.resolve(host);
  auto place = HelperPlace::of(host, to.user);
  LinkTimings timings;
  auto session = co_await enter(host, to, &timings);
  Elapsed begun = clock_.elapsed();
  auto helper = co_await helpers_.start(session, place, std::move(first));
  timings.start = clock_.elapsed() - begun;
  timings.pushed = helper.pushed;
  if (settings_.on_opened) settings_.on_opened(host, timings);
  std::unique_ptr<Channel> channel = std::make_unique<SshChannel>(session, std::move(helper), settings_.stall);
  co_return channel;
}

}  // namespace

std::unique_ptr<Link> make_ssh_link(Loop& loop, Clock& clock, SshSettings settings, std::vector<Program> programs) {
  if (programs.empty()) throw Error("there is no program to push to hosts");
  if (!settings.identity.empty()) settings.identity = expand_tilde(settings.identity);
  if (!settings.known_hosts.empty()) settings.known_hosts = expand_tilde(settings.known_hosts);
  return std::make_unique<SshLink>(loop, clock, std::move(settings), std::move(programs));
}

}  // namespace ripcord
