#include "core/net/ssh_socket.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <thread>

namespace ripcord {
namespace {

struct Target {
  sockaddr_storage address{};
  socklen_t size = 0;
  std::string text;
};

Target numeric(const std::string& host, int port) {
  Target t;
  auto* four = reinterpret_cast<sockaddr_in*>(&t.address);
  auto* six = reinterpret_cast<sockaddr_in6*>(&t.address);
  if (::inet_pton(AF_INET, host.c_str(), &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons(static_cast<std::uint16_t>(port));
    t.size = sizeof *four;
  } else if (::inet_pton(AF_INET6, host.c_str(), &six->sin6_addr) == 1) {
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(static_cast<std::uint16_t>(port));
    t.size = sizeof *six;
  }
  t.text = host;
  return t;
}

// What a look-up's thread and its waiter share. The thread is detached: a resolver that hangs must not hold up the exit.
struct Lookup {
  std::string host;
  int port = 0;
  Fd read_end, write_end;        // the thread writes a byte when it is done; before that it alone touches the rest
  std::vector<Target> targets;
  int error = 0;
};

void look_up(const std::shared_ptr<Lookup>& lookup) {
  addrinfo hints{}, *list = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  lookup->error = ::getaddrinfo(lookup->host.c_str(), std::to_string(lookup->port).c_str(), &hints, &list);
  for (addrinfo* a = lookup->error == 0 ? list : nullptr; a; a = a->ai_next) {
    Target t;
    std::memcpy(&t.address, a->ai_addr, a->ai_addrlen);
    t.size = a->ai_addrlen;
    char text[INET6_ADDRSTRLEN] = {};
    ::getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST);
    t.text = text;
    lookup->targets.push_back(t);
  }
  if (list) ::freeaddrinfo(list);
  [[maybe_unused]] ssize_t n = ::write(lookup->write_end.get(), "", 1);
}

Task<std::vector<Target>> resolve(Loop& loop, Clock& clock, std::string who, std::string host, int port, Elapsed deadline) {
  Target literal = numeric(host, port);
  if (literal.size > 0) co_return std::vector<Target>(1, literal);
  auto lookup = std::make_shared<Lookup>();
  lookup->host = host;
  lookup->port = port;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) throw os_error("create", "a pipe", errno);
  lookup->read_end.reset(ends[0]);
  lookup->write_end.reset(ends[1]);
  FdWatch watch(loop, ends[0]);
  std::thread(look_up, lookup).detach();
  bool done = co_await watch.wait(true, false, clock, deadline);
  if (!done)
    throw LinkError(LinkFault::unreachable, "connect_timeout", fmt::format("cannot reach '{}': the address of '{}' was not found in time", who, host),
                    "is the name server reachable? an IP address as address: needs none");
  if (lookup->error != 0 || lookup->targets.empty())
    throw LinkError(LinkFault::unreachable, "no_address",
                    fmt::format("cannot reach '{}': no address for '{}': {}", who, host,
                                lookup->error ? ::gai_strerror(lookup->error) : "the name has none"),
                    "check address: in the fleet file, or the HostName in ssh_config");
  co_return lookup->targets;
}

// 0 when connected, else errno; ETIMEDOUT when the deadline passed.
Task<int> connect_one(Loop& loop, Clock& clock, int fd, Target target, Elapsed deadline) {
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&target.address), target.size) == 0) co_return 0;
  if (errno != EINPROGRESS) co_return errno;
  FdWatch watch(loop, fd);
  bool in_time = co_await watch.wait(false, true, clock, deadline);
  if (!in_time) co_return ETIMEDOUT;
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  co_return error;
}

LinkError failed(const std::string& who, const Target& target, int port, int error, Millis waited) {
  std::string where = fmt::format("cannot connect to '{}' ({} port {}): ", who, target.text, port);
  if (error == ECONNREFUSED)
    return LinkError(LinkFault::unreachable, "connect_refused", where + errno_text(error), "is sshd running there, and is the port right?");
  if (error == ETIMEDOUT)
    return LinkError(LinkFault::unreachable, "connect_timeout", where + "no answer within " + format_duration(waited),
                     "is the host up, and does a firewall drop the packets?");
  return LinkError(LinkFault::unreachable, "no_route", where + errno_text(error), "check the network between here and there");
}

}  // namespace

void quick_ack(int fd) {
  int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
}

Task<Fd> connect_tcp(Loop& loop, Clock& clock, std::string who, std::string host, int port, Elapsed deadline) {
  Elapsed begun = clock.elapsed();
  auto targets = co_await resolve(loop, clock, who, host, port, deadline);
  int error = 0;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    Fd fd(::socket(targets[i].address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) throw os_error("create", "a socket", errno);
    int on = 1;
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    quick_ack(fd.get());
    Millis left = deadline - clock.elapsed();  // an even share for each address still to try
    Elapsed until = clock.elapsed() + left / static_cast<int>(targets.size() - i);
    error = co_await connect_one(loop, clock, fd.get(), targets[i], until);
    if (error == 0) co_return fd;
  }
  throw failed(who, targets.back(), port, error, clock.elapsed() - begun);
}

}  // namespace ripcord
