#include "server.hpp"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <stdexcept>
#include <vector>

namespace sample {
namespace {

constexpr std::size_t kMaxRequest = 16 * 1024;
constexpr std::size_t kMaxConnections = 512;
constexpr auto kDrain = std::chrono::milliseconds(800);

std::string timestamp() {
  char text[32];
  std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

std::string reason(int code) { return code == 200 ? "OK" : code == 400 ? "Bad Request" : "Internal Server Error"; }

}  // namespace

Server::Server(std::string config_path) : config_path_(std::move(config_path)), config_(load_config(config_path_)) {
  open_log(config_.log);
  log("starting version " + config_.version);
  if (!config_.healthy) log("error: storage backend refused the connection, the service is not healthy");
}

Server::~Server() {
  for (auto& [fd, c] : connections_) ::close(fd);
  if (listener_ >= 0) ::close(listener_);
  if (log_ && log_ != stderr) std::fclose(log_);
}

void Server::open_log(const std::string& path) {
  std::FILE* opened = path.empty() ? stderr : std::fopen(path.c_str(), "ae");
  if (!opened) throw std::runtime_error("cannot open log '" + path + "': " + std::strerror(errno));
  if (log_ && log_ != stderr) std::fclose(log_);
  log_ = opened;
}

void Server::log(const std::string& line) {
  std::fprintf(log_, "%s %s\n", timestamp().c_str(), line.c_str());
  std::fflush(log_);
  metrics_.count_log_line();
}

void Server::listen_on(const Config& config) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(static_cast<std::uint16_t>(config.port));
  if (::inet_pton(AF_INET, config.address.c_str(), &at.sin_addr) != 1) throw std::runtime_error("'" + config.address + "' is not an IPv4 address");
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  int yes = 1;
  ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (listener_ < 0 || ::bind(listener_, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 || ::listen(listener_, 128) != 0)
    throw std::runtime_error("cannot listen on " + config.address + ":" + std::to_string(config.port) + ": " + std::strerror(errno));
  log("listening on " + config.address + ":" + std::to_string(config.port));
}

// The address it listens on stays: everything else takes effect at once. A config that cannot be read changes nothing.
void Server::reload() {
  try {
    Config next = load_config(config_path_);
    open_log(next.log);
    next.address = config_.address;
    next.port = config_.port;
    config_ = next;
    log("config read again, version " + config_.version);
  } catch (const std::runtime_error& e) {
    log(std::string("error: config not read: ") + e.what());
  }
}

void Server::accept_all() {
  while (connections_.size() < kMaxConnections) {
    int fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    int yes = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    connections_[fd];
  }
}

bool Server::receive(int fd, Connection& c) {
  char buffer[4096];
  ssize_t n = ::recv(fd, buffer, sizeof buffer, 0);
  if (n == 0) return false;
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  c.in.append(buffer, static_cast<std::size_t>(n));
  answer(c);
  return true;
}

// Takes one complete request out of `in`; a body is not expected. One answer at a time: the next waits in `in`.
void Server::answer(Connection& c) {
  if (c.code != 0) return;
  auto end = c.in.find("\r\n\r\n");
  if (end == std::string::npos) {
    if (c.in.size() > kMaxRequest) c.close = true, say(c, 400, "text/plain", "too large\n");
    return;
  }
  std::string head = c.in.substr(0, end);
  c.in.erase(0, end + 4);
  auto first = head.substr(0, head.find("\r\n"));
  auto method = first.substr(0, first.find(' '));
  auto path = first.size() > method.size() ? first.substr(method.size() + 1, first.find(' ', method.size() + 1) - method.size() - 1) : "";
  std::string lower = head;
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char ch) { return static_cast<char>(std::tolower(ch)); });
  c.close = first.find("HTTP/1.1") == std::string::npos || lower.find("connection: close") != std::string::npos;
  c.started = c.due = std::chrono::steady_clock::now();
  if (method != "GET" || path.empty()) return say(c, 400, "text/plain", "only GET\n");
  if (path == "/healthz") return say(c, config_.healthy ? 200 : 500, "text/plain", config_.healthy ? "ok\n" : "not healthy\n");
  if (path == "/version") return say(c, 200, "text/plain", config_.version + "\n");
  if (path == "/metrics") return say(c, 200, "text/plain; version=0.0.4", metrics_.text(config_.version));
  c.due += std::chrono::milliseconds(config_.latency_ms);
  // Spread evenly, so that a few requests already show the percentage: a request fails where the total passes a whole number.
  bool failed = (requests_ + 1) * static_cast<std::uint64_t>(config_.fail_percent) / 100 > requests_ * static_cast<std::uint64_t>(config_.fail_percent) / 100;
  ++requests_;
  if (failed) log("error: request for " + path.substr(0, 200) + " failed");
  for (int i = 0; i < config_.log_lines_per_request; ++i) log("GET " + path.substr(0, 200) + (failed ? " 500" : " 200"));
  say(c, failed ? 500 : 200, "text/plain", failed ? "failed\n" : "hello\n");
}

void Server::say(Connection& c, int code, const std::string& type, const std::string& body) {
  c.code = code;
  c.out = "HTTP/1.1 " + std::to_string(code) + " " + reason(code) + "\r\nContent-Type: " + type + "\r\nContent-Length: " +
          std::to_string(body.size()) + "\r\nConnection: " + (c.close ? "close" : "keep-alive") + "\r\n\r\n" + body;
}

bool Server::send_due(int fd, Connection& c, Time now) {
  while (c.code != 0 && c.due <= now) {
    ssize_t n = ::send(fd, c.out.data(), c.out.size(), MSG_NOSIGNAL);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    c.out.erase(0, static_cast<std::size_t>(n));
    if (!c.out.empty()) return true;
    metrics_.count(c.code, std::chrono::duration<double>(now - c.started).count());
    c.code = 0;
    if (c.close) return false;
    answer(c);
  }
  return true;
}

int Server::wait_ms(Time now) const {
  int wait = 1000;
  for (const auto& [fd, c] : connections_)
    if (c.code != 0 && c.due > now) wait = std::min(wait, static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(c.due - now).count()) + 1);
  return wait;
}

int Server::run(int signal_fd) {
  pollfd before{signal_fd, POLLIN, 0};
  if (::poll(&before, 1, config_.start_delay_ms) == 0) listen_on(config_);
  auto begun = std::chrono::steady_clock::now();
  Time stop_by = Time::max();
  while (true) {
    auto now = std::chrono::steady_clock::now();
    if (config_.crash_after_s > 0 && now - begun >= std::chrono::seconds(config_.crash_after_s)) {
      log("fatal: crash_after_s has passed");
      std::abort();
    }
    bool stopping = stop_by != Time::max();
    bool busy = std::any_of(connections_.begin(), connections_.end(), [](const auto& c) { return c.second.code != 0; });
    if (stopping && (!busy || now >= stop_by)) break;
    std::vector<pollfd> fds{{signal_fd, POLLIN, 0}, {stopping || connections_.size() >= kMaxConnections ? -1 : listener_, POLLIN, 0}};
    for (const auto& [fd, c] : connections_)
      fds.push_back({fd, static_cast<short>((c.in.size() <= kMaxRequest ? POLLIN : 0) | (c.code != 0 && c.due <= now ? POLLOUT : 0)), 0});
    ::poll(fds.data(), fds.size(), stopping ? std::min(50, wait_ms(now)) : wait_ms(now));
    now = std::chrono::steady_clock::now();
    if (fds[0].revents) {
      signalfd_siginfo signal{};
      if (::read(signal_fd, &signal, sizeof signal) == sizeof signal) {
        if (signal.ssi_signo == SIGHUP) reload();
        else if (!stopping) log("stopping"), stop_by = now + kDrain;
      }
    }
    for (std::size_t i = 2; i < fds.size(); ++i) {
      auto& c = connections_[fds[i].fd];
      bool alive = !(fds[i].revents & (POLLERR | POLLNVAL)) && (!(fds[i].revents & (POLLIN | POLLHUP)) || receive(fds[i].fd, c));
      if (alive) alive = send_due(fds[i].fd, c, now > c.due ? now : std::chrono::steady_clock::now());
      if (alive) continue;
      ::close(fds[i].fd);
      connections_.erase(fds[i].fd);
    }
    if (fds[1].revents) accept_all();
  }
  log("stopped");
  return 0;
}

}  // namespace sample
