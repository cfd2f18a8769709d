// One SSH connection on the event loop: transport, host key, user authentication, exec channels. libssh2 stays behind it.
//
// libssh2 1.10 must never see a full socket: what it half-sent has to be sent again by the very same call, so a reader could
// not run beside a writer. Here its output goes to a buffer that always takes it, and this class empties the buffer; writers
// look at the buffer's size instead. Nothing in here blocks, teardown included.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/base/files.hpp"
#include "core/net/link.hpp"
#include "core/net/ssh_key.hpp"

struct _LIBSSH2_SESSION;
struct _LIBSSH2_CHANNEL;

namespace ripcord {

class SshSession : public std::enable_shared_from_this<SshSession> {
 public:
  // fd: connected and non-blocking; a TCP socket or one end of a socketpair. keep: lives as long as the session (a proxy).
  SshSession(Loop& loop, Clock& clock, std::string who, Fd fd, std::shared_ptr<void> keep);
  ~SshSession();

  // Banners and key exchange. host_key_types: in order of preference. LinkError handshake_timeout, handshake_failed, or
  // "dropped" when the server hung up before its banner (MaxStartups): worth another try.
  Task<> handshake(std::vector<std::string> host_key_types, Elapsed deadline);
  const std::string& host_key() const { return host_key_; }

  // False: the server does not take this key. LinkError auth_timeout, closed, or what the key's sign() threw.
  Task<bool> authenticate(std::string user, std::shared_ptr<SshKey> key, Elapsed deadline);
  // What the server would accept ("publickey,password"), for the message after a failure; "" when it does not say.
  Task<std::string> methods(std::string user, Elapsed deadline);

  void beat_every(Millis beat) { beat_ = beat; }  // while a reader waits, so that what lies in between sees that the connection is used
  void shut();                    // from now on everything fails at once; waiters wake
  bool is_shut() const { return shut_; }
  const std::string& who() const { return who_; }

 private:
  friend class SshExec;
  friend struct SshCallbacks;
  Task<int> drive(std::function<int()> call, Elapsed deadline);  // until it is not EAGAIN; LIBSSH2_ERROR_TIMEOUT
  Task<bool> turn(Elapsed deadline);                             // waits for the socket; false at the deadline
  void after_call();                                             // flushes; wakes the others when bytes came in
  void flush();
  long on_send(const void* bytes, std::size_t size);
  long on_receive(void* bytes, std::size_t size);
  bool is_lost() const { return shut_ || ended_ || error_ != 0; }
  void note(long rc);                                            // what a call of libssh2 said: the next one overwrites its own note
  LinkError lost(const std::string& doing) const;                // "closed", with the reason; "corrupted" when bytes were changed on their way
  std::string last_error() const;

  Loop& loop_;
  Clock& clock_;
  std::string who_;
  std::shared_ptr<void> keep_;
  Fd fd_;
  FdWatch watch_;                 // after fd_: goes first
  _LIBSSH2_SESSION* ssh_ = nullptr;
  std::string out_;               // produced by libssh2, not yet taken by the kernel
  std::string in_;                // received, not yet taken by libssh2 (it reads the banner byte by byte)
  std::string greeting_;          // the first bytes received, kept until the handshake is over
  std::string host_key_;
  Elapsed moved_;                 // when a byte last went either way
  Elapsed sent_;                  // and up
  Millis beat_{0};
  bool tcp_ = false, handshaking_ = true;
  bool shut_ = false, ended_ = false;  // closed by us, by the other side
  bool received_ = false;         // bytes came in that another waiter may need to see
  bool dry_ = false;              // the socket was empty a moment ago: do not ask the kernel again before it says so
  int error_ = 0;                 // errno of the socket
  int broke_ = 0;                 // libssh2's first word on what broke it, when it was noted
  int execs_ = 0;                 // channels opened so far
};

// One exec channel. The session outlives it.
class SshExec {
 public:
  // Sends the exec request and `first` right behind it, without waiting in between. LinkError exec_refused, start_timeout, closed.
  static Task<std::shared_ptr<SshExec>> start(std::shared_ptr<SshSession> session, std::string command, std::string first,
                                              Elapsed deadline);
  // A window's wait ends with LinkError silent when nothing moved in either direction for `stall`, closed when the program
  // no longer reads.
  Task<> write(std::string bytes, Millis stall);
  Task<> end_of_input(Elapsed deadline);
  // At least one byte; "" when the program closed its output. LinkError silent at the deadline, closed.
  Task<std::string> read(Elapsed deadline);
  // For a script that is fed: collects its output meanwhile (the next read() gives it); false when it stopped reading.
  Task<bool> feed(std::string bytes, Millis stall);
  // After the end: closes the channel and gives its place in the session back (MaxSessions counts it). Best effort.
  Task<> finish(Elapsed deadline);
  int exit_status() const;          // after finish; says nothing about success: a cut connection looks like 0
  const std::string& error_tail() const { return errors_; }

 private:
  SshExec(std::shared_ptr<SshSession> session, _LIBSSH2_CHANNEL* channel) : session_(std::move(session)), channel_(channel) {}
  Task<bool> send(std::string bytes, Millis stall, bool collect);
  long read_now(std::string& out);  // appends what is there; as libssh2_channel_read
  void drain_errors();
  std::shared_ptr<SshSession> session_;
  _LIBSSH2_CHANNEL* channel_;
  std::string errors_;            // the last of standard error
  std::string collected_;
  int status_ = -1;
};

}  // namespace ripcord
