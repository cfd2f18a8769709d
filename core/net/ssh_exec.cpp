#include <fmt/format.h>

#include <algorithm>

#include "core/base/text.hpp"
#include "core/net/ssh_libssh2.hpp"
#include "core/net/ssh_session.hpp"

namespace ripcord {
namespace {

constexpr std::size_t kCollected = 64 * 1024;
constexpr int kReopen = 20;
constexpr Millis kReopenPause{25};

LinkError refused(const std::string& who, const std::string& why) {
  return LinkError(LinkFault::host, "exec_refused", fmt::format("'{}' lets the user log in, but not start a program: {}", who, why),
                   "check its sshd_config and authorized_keys: MaxSessions at least 1, no ForceCommand or command= other than the one "
                   "in docs/ssh.md, a login shell that is not nologin");
}

// The server's own no; anything else is about the connection, and says nothing about the host.
bool is_refusal(int rc) { return rc == LIBSSH2_ERROR_CHANNEL_FAILURE || rc == LIBSSH2_ERROR_CHANNEL_REQUEST_DENIED; }

LinkError start_timeout(const std::string& who) {
  return LinkError(LinkFault::unreachable, "start_timeout", fmt::format("'{}' did not start the program in time", who),
                   "a start-up file of the login shell may hang, or the host is overloaded");
}

}  // namespace

Task<std::shared_ptr<SshExec>> SshExec::start(std::shared_ptr<SshSession> session, std::string command, std::string first,
                                              Elapsed deadline) {
  LIBSSH2_SESSION* ssh = session->ssh_;
  LIBSSH2_CHANNEL* channel = nullptr;
  std::function<int()> open = [&channel, ssh] {
    channel = libssh2_channel_open_ex(ssh, "session", 7, kSshWindow, kSshPacket, nullptr, 0);
    return channel ? 0 : libssh2_session_last_errno(ssh);
  };
  int rc = co_await session->drive(open, deadline);
  // Under MaxSessions 1 sshd frees the place of the exec before this one a moment after it has closed that channel.
  for (int again = 0; rc == LIBSSH2_ERROR_CHANNEL_FAILURE && session->execs_ > 0 && again < kReopen; ++again) {
    co_await sleep_until(session->clock_, session->clock_.elapsed() + kReopenPause);
    rc = co_await session->drive(open, deadline);
  }
  ++session->execs_;
  if (rc == LIBSSH2_ERROR_TIMEOUT) throw start_timeout(session->who());
  if (!channel) throw session->is_lost() || !is_refusal(rc) ? session->lost("opening a channel") : refused(session->who(), session->last_error());

  std::shared_ptr<SshExec> exec(new SshExec(session, channel));
  auto request = [channel, &command] {
    return libssh2_channel_process_startup(channel, "exec", 4, command.data(), static_cast<unsigned>(command.size()));
  };
  rc = request();
  // The answer to the request is a round trip away, the window is open already: what the program will read goes out now. sshd
  // drops it when it refuses the request.
  std::size_t sent = 0;
  while (rc == LIBSSH2_ERROR_EAGAIN && sent < first.size()) {
    auto n = libssh2_channel_write_ex(channel, 0, first.data() + sent, std::min(first.size() - sent, kSshPacket));
    if (n <= 0) break;
    sent += static_cast<std::size_t>(n);
  }
  session->after_call();
  if (rc == LIBSSH2_ERROR_EAGAIN) {
    std::function<int()> again = request;
    rc = co_await session->drive(again, deadline);
  }
  if (rc == LIBSSH2_ERROR_TIMEOUT) throw start_timeout(session->who());
  if (rc != 0) throw session->is_lost() || !is_refusal(rc) ? session->lost("starting the program") : refused(session->who(), session->last_error());
  if (sent < first.size()) co_await exec->write(first.substr(sent), deadline - session->clock_.elapsed());
  co_return exec;
}

long SshExec::read_now(std::string& out) {
  char bytes[kSshPacket];
  auto n = libssh2_channel_read_ex(channel_, 0, bytes, sizeof bytes);
  if (n > 0) out.append(bytes, static_cast<std::size_t>(n));
  return n;
}

void SshExec::drain_errors() {
  char bytes[kSshErrorTail];
  while (true) {
    auto n = libssh2_channel_read_ex(channel_, SSH_EXTENDED_DATA_STDERR, bytes, sizeof bytes);
    if (n <= 0) return;
    errors_.append(bytes, static_cast<std::size_t>(n));
    if (errors_.size() > kSshErrorTail) errors_.erase(0, errors_.size() - kSshErrorTail);
  }
}

Task<bool> SshExec::send(std::string bytes, Millis stall, bool collect) {
  auto session = session_;
  std::size_t at = 0;
  Elapsed begun = session->clock_.elapsed();
  while (at < bytes.size()) {
    if (session->is_lost() || !channel_) throw session->lost("sending");
    if (collect) {  // libssh2 sees the end of a channel only once nothing unread is left in it
      if (collected_.size() < kCollected) read_now(collected_);
      drain_errors();
    }
    if (libssh2_channel_eof(channel_)) {
      session->after_call();
      co_return false;
    }
    bool wrote = false;
    if (session->out_.size() < kSshOutLimit) {
      auto n = libssh2_channel_write_ex(channel_, 0, bytes.data() + at, std::min(bytes.size() - at, kSshPacket));
      session->note(n);
      session->after_call();
      if (n < 0 && n != LIBSSH2_ERROR_EAGAIN) throw session->lost("sending");
      wrote = n > 0;
      if (wrote) at += static_cast<std::size_t>(n);
    }
    if (at == bytes.size()) break;
    // One packet a turn of the loop: everybody else gets theirs, and a host is not flooded faster than it takes pages.
    Elapsed deadline = std::max(session->moved_, begun) + stall;
    bool ready = co_await session->watch_.wait(true, wrote || !session->out_.empty(), session->clock_, deadline);
    session->dry_ = false;
    session->flush();
    if (!ready && !session->is_lost() && session->clock_.elapsed() >= std::max(session->moved_, begun) + stall)
      throw LinkError(LinkFault::unreachable, "silent", fmt::format("'{}' takes no more bytes: nothing moved for {}", session->who(), format_duration(stall)),
                      "the host or its network is stuck; what it did last is unknown until it is asked again");
  }
  co_return true;
}

Task<> SshExec::write(std::string bytes, Millis stall) {
  auto session = session_;
  bool taken = co_await send(std::move(bytes), stall, false);
  if (!taken)
    throw LinkError(LinkFault::unreachable, "closed", fmt::format("the program on '{}' ended while it was sent data", session->who()),
                    "what the host did last is unknown until it is asked again");
}

Task<bool> SshExec::feed(std::string bytes, Millis stall) {
  bool taken = co_await send(std::move(bytes), stall, true);
  co_return taken;
}

Task<> SshExec::end_of_input(Elapsed deadline) {
  auto session = session_;
  std::function<int()> call = [channel = channel_] { return libssh2_channel_send_eof(channel); };
  co_await session->drive(call, deadline);
}

Task<std::string> SshExec::read(Elapsed deadline) {
  auto session = session_;
  std::string out;
  out.swap(collected_);
  while (out.empty()) {
    if (session->shut_ || !channel_) throw session->lost("reading");
    auto n = read_now(out);
    session->note(n);
    drain_errors();
    session->after_call();
    if (n > 0) break;
    // A cut connection looks like an end of the stream to libssh2; a real one comes while the connection lives.
    if (session->is_lost() || (n < 0 && n != LIBSSH2_ERROR_EAGAIN)) throw session->lost("reading");
    if (libssh2_channel_eof(channel_)) break;
    const bool beats = session->beat_.count() > 0 && session->sent_ + session->beat_ < deadline;
    bool ready = co_await session->turn(beats ? session->sent_ + session->beat_ : deadline);
    if (!ready && beats && !session->is_lost() && session->clock_.elapsed() < deadline) {
      // A byte more of window: the least that says something, wants no answer and changes nothing.
      if (channel_) libssh2_channel_receive_window_adjust2(channel_, 1, 1, nullptr);
      session->sent_ = session->clock_.elapsed();
      session->flush();
      continue;
    }
    if (!ready && !session->is_lost())
      throw LinkError(LinkFault::unreachable, "silent", fmt::format("nothing came from '{}' in time", session->who()),
                      "the host or its network is stuck; what it did last is unknown until it is asked again");
  }
  co_return out;
}

Task<> SshExec::finish(Elapsed deadline) {
  auto session = session_;
  if (!channel_) co_return;
  drain_errors();
  std::function<int()> close = [channel = channel_] { return libssh2_channel_close(channel); };
  int rc = co_await session->drive(close, deadline);
  if (rc != 0 || !channel_) co_return;  // the session's end frees it
  status_ = libssh2_channel_get_exit_status(channel_);
  libssh2_channel_free(channel_);
  channel_ = nullptr;
}

int SshExec::exit_status() const { return status_; }

}  // namespace ripcord
