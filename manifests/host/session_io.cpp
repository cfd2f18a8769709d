#include "manifests/host/session_io.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "core/base/clock.hpp"
#include "core/base/error.hpp"

namespace ripcord {
namespace {

constexpr std::size_t kGather = 512 * 1024;
constexpr Millis kStuck{60000};  // a peer that takes nothing for so long is gone

bool wait_for(int fd, short events, Millis limit) {
  auto deadline = boot_now() + limit;
  while (true) {
    auto left = deadline - boot_now();
    if (left.count() <= 0) return false;
    pollfd p{fd, events, 0};
    int n = ::poll(&p, 1, static_cast<int>(left.count()));
    if (n > 0) return true;
    if (n == 0 || errno != EINTR) return false;
  }
}

}  // namespace

SessionOutput::SessionOutput(int fd) : fd_(fd) {
  int flags = ::fcntl(fd, F_GETFL);
  if (flags >= 0) ::fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

void SessionOutput::raw(std::string_view bytes) {
  std::lock_guard lock(mutex_);
  buffer_.append(bytes);
}

void SessionOutput::control(const json::object& message) {
  auto text = json::serialize(message);
  std::lock_guard lock(mutex_);
  append_frame(buffer_, FrameKind::control, text);
}

void SessionOutput::data(std::string_view bytes) {
  std::lock_guard lock(mutex_);
  append_frame(buffer_, FrameKind::data, bytes);
  if (buffer_.size() >= kGather) flush_locked();
}

void SessionOutput::flush() {
  std::lock_guard lock(mutex_);
  flush_locked();
}

void SessionOutput::flush_locked() {
  std::string_view rest = buffer_;
  while (!rest.empty() && !gone_) {
    ssize_t n = ::write(fd_, rest.data(), rest.size());
    if (n >= 0) rest.remove_prefix(static_cast<std::size_t>(n));
    else if (errno == EAGAIN) gone_ = !wait_for(fd_, POLLOUT, kStuck);
    else if (errno != EINTR) gone_ = true;
  }
  buffer_.clear();
}

bool SessionOutput::gone() const {
  std::lock_guard lock(mutex_);
  return gone_;
}

bool SessionInput::fill() {
  if (ended_) return false;
  static thread_local std::array<char, 128 * 1024> bytes;
  while (true) {
    if (!wait_for(fd_, POLLIN, idle_)) return !(ended_ = true);
    ssize_t n = ::read(fd_, bytes.data(), bytes.size());
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n <= 0) return !(ended_ = true);
    reader_.feed({bytes.data(), static_cast<std::size_t>(n)});
    return true;
  }
}

std::optional<std::string> SessionInput::first_line() {
  constexpr std::size_t kLongest = 256;
  std::string text;
  while (text.size() < kLongest && wait_for(fd_, POLLIN, idle_)) {
    std::array<char, 65536> bytes;  // one read takes the requests along that came right behind the line
    ssize_t n = ::read(fd_, bytes.data(), bytes.size());
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n <= 0) return std::nullopt;
    text.append(bytes.data(), static_cast<std::size_t>(n));
    auto newline = text.find('\n');
    if (newline == std::string::npos) continue;
    reader_.feed(std::string_view(text).substr(newline + 1));
    text.resize(newline);
    return text;
  }
  return std::nullopt;
}

std::optional<Frame> SessionInput::next() {
  while (true) {
    try {
      if (auto frame = reader_.next()) return frame;
    } catch (const Error& e) {
      throw ProtocolBroken(e.what());
    }
    output_.flush();
    if (!fill()) return std::nullopt;
  }
}

bool SessionInput::peer_gone() const {
  if (ended_ || output_.gone()) return true;
  pollfd p{fd_, POLLIN | POLLRDHUP, 0};
  return ::poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLRDHUP | POLLERR));
}

Heartbeat::Heartbeat(SessionOutput& output, Millis every) {
  thread_ = std::thread([this, &output, every] {
    std::unique_lock lock(mutex_);
    while (!stop_.wait_for(lock, every, [this] { return stopped_; })) {
      output.control({{"event", "alive"}});
      output.flush();
    }
  });
}

Heartbeat::~Heartbeat() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  stop_.notify_one();
  thread_.join();
}

}  // namespace ripcord
