// The two ends of a session: frames in with an idle limit, replies out in as few writes as can be, and "alive" while a request
// takes long. A peer that went away is not an error here: what was begun is finished, and its reply dropped.
#pragma once
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "core/base/json.hpp"
#include "core/base/text.hpp"
#include "core/base/wire.hpp"
#include "manifests/host/host_failure.hpp"

namespace ripcord {

class SessionOutput {
 public:
  explicit SessionOutput(int fd);
  void raw(std::string_view bytes);               // buffered
  void control(const json::object& message);      // buffered
  void data(std::string_view bytes);              // buffered; flushes when much has gathered
  void flush();                                   // one write; from any thread
  bool gone() const;                              // a write failed, or was not taken for a minute

 private:
  void flush_locked();
  int fd_;
  mutable std::mutex mutex_;
  std::string buffer_;
  bool gone_ = false;
};

// Bytes that are no frame, or a frame where it cannot be: the session ends, whatever request it was in.
class ProtocolBroken : public HostFailure {
 public:
  explicit ProtocolBroken(std::string what) : HostFailure("bad_request", std::move(what)) {}
};

class SessionInput {
 public:
  SessionInput(int fd, SessionOutput& output, Millis idle) : fd_(fd), output_(output), idle_(idle) {}
  // The line of the preamble without its newline; nullopt at the end of input or when nothing came in time.
  std::optional<std::string> first_line();
  // The next frame. Flushes the output before it waits. nullopt at the end of input, or idle for too long. ProtocolBroken.
  std::optional<Frame> next();
  bool peer_gone() const;  // the other end was closed; never waits

 private:
  bool fill();  // more bytes; false at the end
  int fd_;
  SessionOutput& output_;
  Millis idle_;
  FrameReader reader_;
  bool ended_ = false;
};

// Sends {"event":"alive"} every `every` while it lives: for one long request, or for a whole session when hello asks for it.
class Heartbeat {
 public:
  explicit Heartbeat(SessionOutput& output, Millis every = Millis(5000));
  ~Heartbeat();

 private:
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace ripcord
