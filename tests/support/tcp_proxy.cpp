#include "tests/support/tcp_proxy.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <list>
#include <vector>

#include "core/base/clock.hpp"
#include "core/base/error.hpp"
#include "core/base/files.hpp"
#include "tests/support/ipv4.hpp"

namespace ripcord::test {
namespace {

void reset_on_close(int fd) {
  linger now{1, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

}  // namespace

// One direction of a connection.
struct TcpProxy::Side {
  Fd* from = nullptr;
  Fd* to = nullptr;
  bool up = false;
  std::string waiting;           // read, not yet sent
  std::int64_t counted = 0;      // bytes since the fault was set
  int generation = -1;
  bool eof = false, eof_sent = false;
  Elapsed next{0};               // of a drip
};

struct TcpProxy::Pair {
  Fd client, server;
  Side up, down;
  Elapsed last{0}, last_up{0};
  bool dead = false;             // both ends are held open and nothing passes
  bool closed = false;
};

TcpProxy::TcpProxy(int to_port, std::string to, std::string listen, int port) : to_(std::move(to)), to_port_(to_port) {
  listen_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  int on = 1;
  ::setsockopt(listen_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  auto a = address_of(listen, port);
  socklen_t size = sizeof a;
  if (::bind(listen_, reinterpret_cast<sockaddr*>(&a), size) != 0 || ::listen(listen_, 128) != 0 ||
      ::getsockname(listen_, reinterpret_cast<sockaddr*>(&a), &size) != 0 || ::pipe2(wake_, O_CLOEXEC | O_NONBLOCK) != 0)
    throw os_error("start", "a TCP proxy", errno);
  port_ = ntohs(a.sin_port);
  thread_ = std::thread([this] { run(); });
}

TcpProxy::~TcpProxy() {
  stopping_ = true;
  [[maybe_unused]] auto n = ::write(wake_[1], "", 1);
  thread_.join();
  for (int fd : {listen_, wake_[0], wake_[1]}) ::close(fd);
}

void TcpProxy::set(Fault fault) {
  {
    std::lock_guard lock(mutex_);
    fault_ = fault;
  }
  cuts_ = 0;
  ++generation_;
  [[maybe_unused]] auto n = ::write(wake_[1], "", 1);
}

TcpProxy::Fault TcpProxy::fault() const {
  std::lock_guard lock(mutex_);
  return fault_;
}

void TcpProxy::happened() {
  ++cuts_;
  std::lock_guard lock(mutex_);
  if (fault_.once) fault_ = {};
}

// Moves what is there from one end to the other, or does to it what the fault says.
void TcpProxy::forward(Pair& pair, Side& side) {
  auto f = fault();
  const bool mine = f.up == side.up;
  if (side.generation != generation_) side.generation = generation_, side.counted = 0;
  if (pair.dead) return;
  char buffer[65536];
  while (!side.eof && side.waiting.size() < 262144) {
    auto n = ::recv(side.from->get(), buffer, sizeof buffer, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) break;
    if (n <= 0) side.eof = true;
    else side.waiting.append(buffer, static_cast<std::size_t>(n)), pair.last = boot_now(), side.up ? pair.last_up = pair.last : pair.last;
  }
  while (!side.waiting.empty()) {
    auto size = static_cast<std::int64_t>(side.waiting.size());
    if (mine && (f.mode == Mode::cut || f.mode == Mode::reset)) {
      size = std::min(size, f.at - side.counted);
      if (size <= 0) {
        if (f.mode == Mode::reset) reset_on_close(pair.client.get()), reset_on_close(pair.server.get());
        pair.closed = true;
        return happened();
      }
    }
    if (mine && f.mode == Mode::drip) {
      if (boot_now() < side.next) return;
      size = 1;
      side.next = boot_now() + Millis(f.at);
      ++cuts_;
    }
    bool flips = mine && f.mode == Mode::flip && side.counted <= f.at && f.at < side.counted + size;
    if (flips) side.waiting[static_cast<std::size_t>(f.at - side.counted)] ^= 0x20;
    auto n = ::send(side.to->get(), side.waiting.data(), static_cast<std::size_t>(size), MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
      if (flips) side.waiting[static_cast<std::size_t>(f.at - side.counted)] ^= 0x20;
      return;
    }
    if (n <= 0) {
      pair.closed = true;
      return;
    }
    if (flips && side.counted + n <= f.at) side.waiting[static_cast<std::size_t>(f.at - side.counted)] ^= 0x20;
    else if (flips) happened(), f = fault();
    side.waiting.erase(0, static_cast<std::size_t>(n));
    side.counted += n;
    (side.up ? up_ : down_) += n;
  }
  if (side.eof && !side.eof_sent) {
    ::shutdown(side.to->get(), SHUT_WR);
    side.eof_sent = true;
  }
  if (pair.up.eof_sent && pair.down.eof_sent) pair.closed = true;
}

void TcpProxy::run() {
  std::list<Pair> pairs;
  while (!stopping_) {
    auto f = fault();
    std::vector<pollfd> fds{{wake_[0], POLLIN, 0}, {listen_, POLLIN, 0}};
    for (auto& p : pairs) {
      auto events = [&](const Side& reads, const Side& writes) {
        return static_cast<short>((reads.eof || reads.waiting.size() >= 262144 ? 0 : POLLIN) | (writes.waiting.empty() || f.mode == Mode::drip ? 0 : POLLOUT));
      };
      fds.push_back({p.dead ? -1 : p.client.get(), events(p.up, p.down), 0});
      fds.push_back({p.dead ? -1 : p.server.get(), events(p.down, p.up), 0});
    }
    bool timed = f.mode == Mode::drip || f.mode == Mode::idle_drop;
    ::poll(fds.data(), fds.size(), timed ? 5 : 1000);
    char drain[64];
    while (::read(wake_[0], drain, sizeof drain) > 0) {
    }
    f = fault();
    int one = 1;
    for (int fd; (fd = ::accept4(listen_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0;) {
      ++connections_;
      auto& p = pairs.emplace_back();
      p.client.reset(fd);
      p.server.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      p.up.from = p.down.to = &p.client;
      p.up.to = p.down.from = &p.server;
      p.up.up = true;
      p.last = p.last_up = boot_now();
      auto to = address_of(to_, to_port_);
      if (f.mode != Mode::black_hole && ::connect(p.server.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) p.closed = true;
      ::fcntl(p.server.get(), F_SETFL, O_NONBLOCK);
      for (int s : {p.client.get(), p.server.get()}) ::setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      if (f.mode == Mode::black_hole) p.dead = true, happened();
    }
    for (auto& p : pairs) {
      if (p.dead || p.closed) continue;
      if (f.mode == Mode::black_hole || (f.mode == Mode::idle_drop && boot_now() - (f.up ? p.last_up : p.last) >= Millis(f.at))) {
        p.dead = true;
        happened();
        continue;
      }
      if (f.mode == Mode::half_open) {
        p.dead = true;
        p.server.reset();
        happened();
        continue;
      }
      forward(p, p.up);
      if (!p.closed) forward(p, p.down);
    }
    pairs.remove_if([](const Pair& p) { return p.closed; });
  }
}

}  // namespace ripcord::test
