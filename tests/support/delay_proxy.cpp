#include "tests/support/delay_proxy.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <deque>
#include <mutex>
#include <thread>

#include "core/base/clock.hpp"
#include "core/base/error.hpp"
#include "core/base/files.hpp"
#include "tests/support/ipv4.hpp"

namespace ripcord::test {
namespace {

struct Part {
  Elapsed due;
  std::string bytes;  // empty: the end
};

struct Pipe {  // one direction
  std::deque<Part> parts;
  bool read_ended = false, write_ended = false;
};

struct Connection {
  Fd client, server;
  Pipe up, down;
  int round_trips = 1;         // the connect itself
  bool heard = true;           // the client has got something since it last spoke
  Elapsed counted{};           // when the newest round trip began
  bool over() const { return up.write_ended && down.write_ended; }
};

void no_delay(int fd) {
  int one = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  ::fcntl(fd, F_SETFL, O_NONBLOCK);
}

}  // namespace

struct DelayProxy::Impl {
  std::string target;
  int target_port, port = 0;
  Millis one_way;
  Fd listener;
  std::atomic<bool> stop{false};
  mutable std::mutex mutex;  // of connections
  std::vector<std::unique_ptr<Connection>> connections;
  std::thread thread;

  void accept_one() {
    Fd client(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    Fd server(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    auto to = address_of(target, target_port);
    if (!client || ::connect(server.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) return;
    no_delay(client.get());
    no_delay(server.get());
    auto c = std::make_unique<Connection>();
    c->client = std::move(client);
    c->server = std::move(server);
    std::lock_guard lock(mutex);
    connections.push_back(std::move(c));
  }

  // False when nothing came.
  bool take(int fd, Pipe& pipe) {
    char buffer[65536];
    ssize_t n = ::recv(fd, buffer, sizeof buffer, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    pipe.parts.push_back({boot_now() + one_way, n > 0 ? std::string(buffer, static_cast<std::size_t>(n)) : std::string()});
    if (n <= 0) pipe.read_ended = true;
    return n > 0;
  }

  // What is due goes out; true when something did.
  bool give(int fd, Pipe& pipe) {
    bool gave = false;
    while (!pipe.parts.empty() && pipe.parts.front().due <= boot_now()) {
      auto& part = pipe.parts.front();
      if (part.bytes.empty()) {
        ::shutdown(fd, SHUT_WR);
        pipe.write_ended = true;
      } else {
        ssize_t n = ::send(fd, part.bytes.data(), part.bytes.size(), MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) return gave;
        if (n < 0) pipe.write_ended = true;
        gave = true;
        if (n > 0 && static_cast<std::size_t>(n) < part.bytes.size()) {
          part.bytes.erase(0, static_cast<std::size_t>(n));
          return gave;
        }
      }
      pipe.parts.pop_front();
    }
    return gave;
  }

  void move(Connection& c, bool from_client, bool from_server) {
    if (from_client && take(c.client.get(), c.up) && c.heard) {
      // What it heard was on its way already when it last spoke, if that was less than a round trip ago.
      if (boot_now() - c.counted >= 2 * one_way) ++c.round_trips, c.counted = boot_now();
      c.heard = false;
    }
    if (from_server) take(c.server.get(), c.down);
    give(c.server.get(), c.up);
    if (give(c.client.get(), c.down)) c.heard = true;
  }

  void run() {
    while (!stop) {
      std::vector<pollfd> watched{{listener.get(), POLLIN, 0}};
      std::vector<Connection*> live;
      for (const auto& c : connections) {
        if (c->over()) continue;
        live.push_back(c.get());
        watched.push_back({c->up.read_ended ? -1 : c->client.get(), POLLIN, 0});
        watched.push_back({c->down.read_ended ? -1 : c->server.get(), POLLIN, 0});
      }
      ::poll(watched.data(), watched.size(), 1);  // 1 ms: what is due must not wait for somebody to speak
      std::size_t at = 1;
      {
        std::lock_guard lock(mutex);
        for (auto* c : live) {
          move(*c, watched[at].revents != 0, watched[at + 1].revents != 0);
          at += 2;
        }
      }
      if (watched[0].revents) accept_one();
    }
  }
};

DelayProxy::DelayProxy(std::string target_address, int target_port, Millis one_way) : impl_(std::make_unique<Impl>()) {
  impl_->target = std::move(target_address);
  impl_->target_port = target_port;
  impl_->one_way = one_way;
  impl_->listener.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  auto here = address_of("127.0.0.1", 0);
  socklen_t size = sizeof here;
  if (::bind(impl_->listener.get(), reinterpret_cast<sockaddr*>(&here), size) != 0 || ::listen(impl_->listener.get(), 64) != 0 ||
      ::getsockname(impl_->listener.get(), reinterpret_cast<sockaddr*>(&here), &size) != 0)
    throw os_error("listen on", "127.0.0.1", errno);
  impl_->port = ntohs(here.sin_port);
  impl_->thread = std::thread([impl = impl_.get()] { impl->run(); });
}

DelayProxy::~DelayProxy() {
  impl_->stop = true;
  impl_->thread.join();
}

int DelayProxy::port() const { return impl_->port; }

std::vector<int> DelayProxy::round_trips() const {
  std::lock_guard lock(impl_->mutex);
  std::vector<int> out;
  for (const auto& c : impl_->connections) out.push_back(c->round_trips);
  return out;
}

}  // namespace ripcord::test
