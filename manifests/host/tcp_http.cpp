#include "manifests/host/tcp_http.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cerrno>
#include <charconv>
#include <vector>

#include "core/base/clock.hpp"
#include "core/base/error.hpp"

namespace ripcord {
namespace {

constexpr std::size_t kMaxAnswer = 64 * 1024;

std::string shown(const TcpAddress& a) {
  return a.host.find(':') == std::string::npos ? fmt::format("{}:{}", a.host, a.port) : fmt::format("[{}]:{}", a.host, a.port);
}

// Waits for `events`; false when the deadline passed.
bool wait_ready(int fd, short events, Elapsed end) {
  while (true) {
    Millis left = end - boot_now();
    if (left <= Millis(0)) return false;
    pollfd p{fd, events, 0};
    int n = ::poll(&p, 1, static_cast<int>(std::min<std::int64_t>(left.count(), 60000)));
    if (n > 0) return true;
    if (n < 0 && errno != EINTR) throw os_error("wait for", "a connection", errno);
  }
}

struct Numeric {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

std::optional<Numeric> numeric(const std::string& host, int port) {
  Numeric n;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&n.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&n.storage);
  if (::inet_pton(AF_INET, host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET, v4->sin_port = htons(static_cast<std::uint16_t>(port)), n.size = sizeof *v4;
  } else if (::inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6, v6->sin6_port = htons(static_cast<std::uint16_t>(port)), n.size = sizeof *v6;
  } else {
    return std::nullopt;
  }
  return n;
}

// The errno of the attempt, 0 when connected.
int connect_one(const Numeric& to, Elapsed end, Fd& out) {
  Fd fd(::socket(to.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return errno;
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to.storage), to.size) != 0) {
    if (errno != EINPROGRESS) return errno;
    if (!wait_ready(fd.get(), POLLOUT, end)) return ETIMEDOUT;
    int error = 0;
    socklen_t size = sizeof error;
    if (::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
    if (error) return error;
  }
  out = std::move(fd);
  return 0;
}

struct Url {
  std::string authority, path;
  TcpAddress address;
};

Url parse_url(const std::string& url) {
  auto bad = [&](const char* why) { return Error(fmt::format("'{}' is not a URL that can be checked: {}", url, why)); };
  constexpr std::string_view kScheme = "http://";
  if (url.rfind(kScheme, 0) != 0) throw bad("only http:// is checked");
  for (unsigned char c : url)
    if (c <= ' ' || c >= 0x7f) throw bad("it holds a blank, a control byte or a byte that is not ASCII");
  std::string rest = url.substr(kScheme.size());
  auto end = rest.find_first_of("/?#");
  Url u;
  u.authority = rest.substr(0, end);
  u.path = end == std::string::npos ? "/" : rest.substr(end);
  if (auto hash = u.path.find('#'); hash != std::string::npos) u.path.resize(hash);
  if (u.path.empty() || u.path[0] != '/') u.path.insert(0, "/");
  if (u.authority.find('@') != std::string::npos) throw bad("it names a user");
  bool has_port = u.authority.rfind(':') != std::string::npos && u.authority.back() != ']';
  u.address = parse_tcp_address(has_port ? u.authority : u.authority + ":80");
  return u;
}

}  // namespace

TcpAddress parse_tcp_address(const std::string& text) {
  auto colon = text.rfind(':');
  TcpAddress a;
  if (colon != std::string::npos) {
    a.host = text.substr(0, colon);
    auto [end, error] = std::from_chars(text.data() + colon + 1, text.data() + text.size(), a.port);
    if (error != std::errc() || end != text.data() + text.size()) a.port = 0;
  }
  if (a.host.size() > 2 && a.host.front() == '[' && a.host.back() == ']') a.host = a.host.substr(1, a.host.size() - 2);
  else if (a.host.find(':') != std::string::npos) a.host.clear();
  if (a.port < 1 || a.port > 65535 || (a.host != "localhost" && !numeric(a.host, a.port)))
    throw Error(fmt::format("'{}' is not an address like 127.0.0.1:8080, [::1]:8080 or localhost:8080", text),
                "names are not resolved on hosts: use ${address} or a number");
  return a;
}

Fd connect_tcp(const TcpAddress& address, Millis timeout) {
  Elapsed end = boot_now() + timeout;
  std::vector<std::string> hosts{address.host};
  if (address.host == "localhost") hosts = {"127.0.0.1", "::1"};
  int first_error = 0;
  for (const auto& host : hosts) {
    auto to = numeric(host, address.port);
    if (!to) throw Error(fmt::format("'{}' is not a numeric address", host));
    Fd fd;
    int error = connect_one(*to, end, fd);
    if (error == 0) return fd;
    if (first_error == 0) first_error = error;
  }
  if (first_error == ETIMEDOUT)
    throw Error(fmt::format("cannot connect to '{}': no answer within {}", shown(address), format_duration(timeout)));
  throw os_error("connect to", shown(address), first_error);
}

HttpAnswer http_get(const std::string& url, Millis timeout, bool need_body) {
  namespace http = boost::beast::http;
  Elapsed end = boot_now() + timeout;
  Url u = parse_url(url);
  Fd fd = connect_tcp(u.address, timeout);
  auto late = [&](const char* what) {
    return Error(fmt::format("'{}' {} within {}", url, what, format_duration(timeout)));
  };

  std::string request = fmt::format("GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: ripcord-host\r\nAccept: */*\r\nConnection: close\r\n\r\n",
                                    u.path, u.authority);
  for (std::string_view left = request; !left.empty();) {
    ssize_t n = ::send(fd.get(), left.data(), left.size(), MSG_NOSIGNAL);
    if (n > 0) left.remove_prefix(static_cast<std::size_t>(n));
    else if (errno == EAGAIN && !wait_ready(fd.get(), POLLOUT, end)) throw late("did not take the request");
    else if (errno != EAGAIN && errno != EINTR) throw os_error("send a request to", url, errno);
  }

  http::response_parser<http::string_body> parser;
  parser.body_limit(boost::none);  // bounded here, by what is read at all
  parser.header_limit(32 * 1024);
  parser.eager(true);
  std::string buffer;
  std::array<char, 8192> portion;
  std::size_t read_in_all = 0;
  boost::system::error_code ec;
  while (!parser.is_done() && !(parser.is_header_done() && !need_body) && read_in_all < kMaxAnswer) {
    ssize_t n = ::recv(fd.get(), portion.data(), portion.size(), 0);
    if (n < 0 && errno == EAGAIN && !wait_ready(fd.get(), POLLIN, end)) throw late("did not answer");
    if (n < 0 && errno != EAGAIN && errno != EINTR) throw os_error("read the answer of", url, errno);
    if (n < 0) continue;
    if (n == 0) {
      if (read_in_all == 0) throw Error(fmt::format("'{}' closed the connection without an answer", url));
      parser.put_eof(ec);
      if (ec) throw Error(fmt::format("the answer of '{}' ends too early: {}", url, ec.message()));
      break;
    }
    read_in_all += static_cast<std::size_t>(n);
    buffer.append(portion.data(), static_cast<std::size_t>(n));
    std::size_t used = parser.put(boost::asio::buffer(buffer), ec);
    buffer.erase(0, used);
    if (ec == http::error::need_more) ec = {};
    if (ec) throw Error(fmt::format("the answer of '{}' is not HTTP: {}", url, ec.message()));
    if (boot_now() >= end) throw late("did not end its answer");
  }
  if (!parser.is_header_done()) throw Error(fmt::format("the answer of '{}' is not HTTP: its header is too long", url));
  return {static_cast<int>(parser.get().result_int()), parser.get().body()};
}

}  // namespace ripcord
