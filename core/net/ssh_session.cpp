#include "core/net/ssh_session.hpp"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "core/base/text.hpp"
#include "core/net/ssh_libssh2.hpp"
#include "core/net/ssh_methods.hpp"
#include "core/net/ssh_socket.hpp"

namespace ripcord {
namespace {

constexpr std::size_t kGreetingLimit = 16 * 1024;
constexpr std::size_t kOutCap = 1u << 20;  // a server that makes us answer and never reads is not one
constexpr std::size_t kSmallRead = 256, kReadAhead = 4096;

// Between libssh2, which wants a signature now, and a key that may take its time (an agent).
struct Signing {
  std::string wanted, data, signature;

  static int sign(LIBSSH2_SESSION*, unsigned char** out, std::size_t* size, const unsigned char* data, std::size_t data_size,
                  void** abstract) {
    auto* self = static_cast<Signing*>(*abstract);
    std::string_view asked(reinterpret_cast<const char*>(data), data_size);
    if (self->signature.empty() || self->data != asked) {
      self->wanted = asked;
      return LIBSSH2_ERROR_EAGAIN;  // libssh2 will come back with the same bytes
    }
    *out = static_cast<unsigned char*>(std::malloc(self->signature.size()));  // libssh2 frees it
    if (!*out) return LIBSSH2_ERROR_ALLOC;
    std::memcpy(*out, self->signature.data(), self->signature.size());
    *size = self->signature.size();
    return 0;
  }
};

bool is_tcp(int fd) {
  sockaddr_storage name{};
  socklen_t size = sizeof name;
  return ::getsockname(fd, reinterpret_cast<sockaddr*>(&name), &size) == 0 && name.ss_family != AF_UNIX;
}

}  // namespace

struct SshCallbacks {
  static ssize_t send(libssh2_socket_t, const void* bytes, std::size_t size, int, void** abstract) {
    return static_cast<SshSession*>(*abstract)->on_send(bytes, size);
  }
  static ssize_t receive(libssh2_socket_t, void* bytes, std::size_t size, int, void** abstract) {
    return static_cast<SshSession*>(*abstract)->on_receive(bytes, size);
  }
  // Else some calls would say that a server refused what it never answered.
  static int mac_error(LIBSSH2_SESSION*, const char*, int, void** abstract) {
    static_cast<SshSession*>(*abstract)->note(LIBSSH2_ERROR_INVALID_MAC);
    return -1;  // the packet is not believed
  }
};

SshSession::SshSession(Loop& loop, Clock& clock, std::string who, Fd fd, std::shared_ptr<void> keep)
    : loop_(loop), clock_(clock), who_(std::move(who)), keep_(std::move(keep)), fd_(std::move(fd)), watch_(loop, fd_.get()),
      moved_(clock.elapsed()), sent_(clock.elapsed()), tcp_(is_tcp(fd_.get())) {
  static const int ready = libssh2_init(0);
  ssh_ = ready == 0 ? libssh2_session_init_ex(nullptr, nullptr, nullptr, this) : nullptr;
  if (!ssh_) throw Error("libssh2 cannot be started");
  libssh2_session_callback_set(ssh_, LIBSSH2_CALLBACK_SEND, reinterpret_cast<void*>(SshCallbacks::send));
  libssh2_session_callback_set(ssh_, LIBSSH2_CALLBACK_RECV, reinterpret_cast<void*>(SshCallbacks::receive));
  libssh2_session_callback_set(ssh_, LIBSSH2_CALLBACK_MACERROR, reinterpret_cast<void*>(SshCallbacks::mac_error));
  libssh2_session_set_blocking(ssh_, 0);
  for (int method : {LIBSSH2_METHOD_CRYPT_CS, LIBSSH2_METHOD_CRYPT_SC}) libssh2_session_method_pref(ssh_, method, kSshCiphers);
  for (int method : {LIBSSH2_METHOD_MAC_CS, LIBSSH2_METHOD_MAC_SC}) libssh2_session_method_pref(ssh_, method, kSshMacs);
  libssh2_session_method_pref(ssh_, LIBSSH2_METHOD_KEX, kSshKex);
}

SshSession::~SshSession() {
  shut();
  // A key exchange that was cut short leaks in libssh2's free; asked once more it fails on the closed socket and cleans up.
  if (host_key_.empty()) libssh2_session_handshake(ssh_, fd_.get());
  // With live channels it wants to say goodbye on each; the callbacks fail at once now, so a few calls are enough.
  for (int i = 0; i < 8 && libssh2_session_free(ssh_) == LIBSSH2_ERROR_EAGAIN; ++i) {
  }
}

void SshSession::shut() {
  if (shut_) return;
  shut_ = true;
  ::shutdown(fd_.get(), SHUT_RDWR);
  watch_.cancel();
}

long SshSession::on_send(const void* bytes, std::size_t size) {
  if (is_lost()) return -EPIPE;
  if (out_.size() > kOutCap) error_ = ENOBUFS;
  out_.append(static_cast<const char*>(bytes), size);
  return static_cast<long>(size);
}

long SshSession::on_receive(void* bytes, std::size_t size) {
  if (!in_.empty()) {
    std::size_t n = std::min(size, in_.size());
    std::memcpy(bytes, in_.data(), n);
    in_.erase(0, n);
    return static_cast<long>(n);
  }
  if (shut_ || error_) return -ECONNABORTED;
  if (dry_) return -EAGAIN;
  char ahead[kReadAhead];
  bool small = size < kSmallRead;
  char* into = small ? ahead : static_cast<char*>(bytes);
  std::size_t room = small ? sizeof ahead : size;
  ssize_t n;
  do n = ::recv(fd_.get(), into, room, MSG_DONTWAIT);
  while (n < 0 && errno == EINTR);
  dry_ = n < static_cast<ssize_t>(room);
  if (n < 0) {
    if (errno != EAGAIN) error_ = errno;
    return -errno;
  }
  if (n == 0) {
    ended_ = true;
    return 0;
  }
  received_ = true;
  moved_ = clock_.elapsed();
  if (tcp_) quick_ack(fd_.get());
  if (handshaking_ && greeting_.size() < kGreetingLimit) greeting_.append(into, static_cast<std::size_t>(n));
  if (!small) return n;
  in_.assign(ahead, static_cast<std::size_t>(n));
  return on_receive(bytes, size);
}

void SshSession::flush() {
  while (!out_.empty() && !shut_ && !error_) {
    ssize_t n = ::send(fd_.get(), out_.data(), out_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) {
      error_ = errno;
      return;
    }
    moved_ = sent_ = clock_.elapsed();
    out_.erase(0, static_cast<std::size_t>(n));
  }
  if (out_.empty() && out_.capacity() > kSmallRead) std::string().swap(out_);  // a thousand idle sessions hold nothing
}

void SshSession::after_call() {
  flush();
  if (!received_) return;
  received_ = false;
  watch_.wake();
}

Task<bool> SshSession::turn(Elapsed deadline) {
  bool ready = co_await watch_.wait(true, !out_.empty(), clock_, deadline);
  dry_ = false;
  flush();
  co_return ready;
}

void SshSession::note(long rc) {
  if (rc < 0 && rc != LIBSSH2_ERROR_EAGAIN && broke_ == 0) broke_ = static_cast<int>(rc);
}

Task<int> SshSession::drive(std::function<int()> call, Elapsed deadline) {
  while (true) {
    int rc = call();
    after_call();
    if (rc != LIBSSH2_ERROR_EAGAIN) co_return rc;
    bool ready = co_await turn(deadline);
    if (!ready) co_return shut_ ? LIBSSH2_ERROR_SOCKET_DISCONNECT : LIBSSH2_ERROR_TIMEOUT;
  }
}

std::string SshSession::last_error() const {
  char* text = nullptr;
  int size = 0;
  libssh2_session_last_error(ssh_, &text, &size, 0);
  return size > 0 ? escape_terminal({text, static_cast<std::size_t>(size)}) : "no reason given";
}

LinkError SshSession::lost(const std::string& doing) const {
  const int code = broke_ != 0 ? broke_ : libssh2_session_last_errno(ssh_);
  if (!shut_ && !error_ && (code == LIBSSH2_ERROR_INVALID_MAC || code == LIBSSH2_ERROR_DECRYPT || code == LIBSSH2_ERROR_OUT_OF_BOUNDARY))
    return LinkError(LinkFault::unreachable, "corrupted",
                     fmt::format("bytes from '{}' were changed on their way, seen while {}: the connection's integrity check failed", who_, doing),
                     "nothing that was changed was believed; some device in between damages data. What the host did last is unknown until it is asked again");
  std::string why = shut_ ? "it was closed here" : error_ ? errno_text(error_) : ended_ ? "the other side hung up" : last_error();
  return LinkError(LinkFault::unreachable, "closed", fmt::format("the connection to '{}' was lost while {}: {}", who_, doing, why),
                   "what the host did last is unknown until it is asked again");
}

Task<> SshSession::handshake(std::vector<std::string> host_key_types, Elapsed deadline) {
  Elapsed begun = clock_.elapsed();
  libssh2_session_method_pref(ssh_, LIBSSH2_METHOD_HOSTKEY, join(host_key_types, ",").c_str());
  std::function<int()> call = [ssh = ssh_, fd = fd_.get()] { return libssh2_session_handshake(ssh, fd); };
  int rc = co_await drive(call, deadline);
  handshaking_ = false;
  std::string greeting = std::move(greeting_);
  greeting_ = {};
  std::string server = server_identification(greeting);
  if (rc == LIBSSH2_ERROR_TIMEOUT && !ended_ && !error_)
    throw LinkError(LinkFault::unreachable, "handshake_timeout",
                    fmt::format("'{}' accepted the connection, but {} within {}", who_,
                                server.empty() ? "sent no SSH banner" : "did not finish the SSH key exchange",
                                format_duration(clock_.elapsed() - begun)),
                    "the host may be overloaded or frozen, or something else listens on that port");
  if (rc != 0 && server.empty() && (ended_ || error_)) {
    bool penalty = greeting.find("Not allowed at this time") != std::string::npos;
    throw LinkError(LinkFault::unreachable, penalty ? "handshake_failed" : "dropped",
                    fmt::format("'{}' closed the connection before its SSH banner{}", who_,
                                greeting.empty() ? "" : ", saying: " + escape_terminal(trim(greeting.substr(0, 200)))),
                    penalty ? "sshd penalises this address after failed logins (PerSourcePenalties): wait, or exempt it"
                            : "sshd drops connections beyond MaxStartups; raise it, or lower ssh: max_handshakes");
  }
  if (rc != 0) {
    auto mismatch = find_mismatch(greeting);
    std::string what = mismatch ? fmt::format("no {} algorithm in common with '{}' ({}): it offers {}; ripcord has {}", mismatch->what,
                                              who_, escape_terminal(server), escape_terminal(mismatch->offered), mismatch->needed)
                                : fmt::format("the SSH handshake with '{}'{} failed: {}", who_,
                                              server.empty() ? "" : " (" + escape_terminal(server) + ")",
                                              ended_ ? "the other side hung up" : last_error());
    throw LinkError(LinkFault::unreachable, "handshake_failed", what,
                    mismatch ? (std::string_view(mismatch->directive) == "HostKey"
                                    ? std::string("make a key of one of these kinds there (ssh-keygen -A) and name its file after HostKey in its sshd_config")
                                    : fmt::format("add one of these to {} in its sshd_config", mismatch->directive)) : "see sshd's log on the host");
  }
  std::size_t size = 0;
  int type = 0;
  const char* blob = libssh2_session_hostkey(ssh_, &size, &type);
  if (!blob) throw LinkError(LinkFault::trust, "handshake_failed", fmt::format("'{}' showed no host key", who_));
  host_key_.assign(blob, size);
}

Task<bool> SshSession::authenticate(std::string user, std::shared_ptr<SshKey> key, Elapsed deadline) {
  Signing signing;
  void* abstract = &signing;
  const std::string& blob = key->offered_blob();
  while (true) {
    int rc = libssh2_userauth_publickey(ssh_, user.c_str(), reinterpret_cast<const unsigned char*>(blob.data()), blob.size(),
                                        Signing::sign, &abstract);
    after_call();
    if (rc == 0) co_return true;
    if (rc != LIBSSH2_ERROR_EAGAIN) {
      if (is_lost() || broke_ != 0) throw lost("logging in");
      co_return false;
    }
    if (!signing.wanted.empty()) {
      signing.data = std::move(signing.wanted);
      signing.wanted.clear();
      signing.signature = co_await key->sign(signing.data, deadline);
      continue;
    }
    bool ready = co_await turn(deadline);
    if (ready) continue;
    if (is_lost()) throw lost("logging in");
    throw LinkError(LinkFault::unreachable, "auth_timeout", fmt::format("'{}' did not answer the login in time", who_),
                    "PAM, or a directory service behind it, may hang on the host");
  }
}

Task<std::string> SshSession::methods(std::string user, Elapsed deadline) {
  std::string found;
  std::function<int()> call = [&found, ssh = ssh_, &user] {
    const char* list = libssh2_userauth_list(ssh, user.c_str(), static_cast<unsigned>(user.size()));
    if (list) found = list;
    return list ? 0 : libssh2_session_last_errno(ssh);
  };
  int rc = co_await drive(call, deadline);
  // A server that refuses a key says what it would take. One that says nothing may not have refused anything.
  if (rc == LIBSSH2_ERROR_TIMEOUT)
    throw LinkError(LinkFault::unreachable, "auth_timeout", fmt::format("'{}' did not answer the login in time", who_),
                    "PAM, or a directory service behind it, may hang on the host");
  note(rc);
  if (rc != 0) throw lost("logging in");
  co_return escape_terminal(found);
}

}  // namespace ripcord
