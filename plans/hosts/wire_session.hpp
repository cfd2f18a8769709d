// One conversation with a host program over a channel: sends frames, matches replies by id, passes events on, and gives up when
// the host is silent (it says "alive" at the interval it was asked for) or the deadline of the request has come.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "core/base/wire.hpp"
#include "core/net/link.hpp"
#include "manifests/shared/messages.hpp"

namespace ripcord {

struct WireReply {
  json::object body;
  std::string data;  // of the data frames that follow, when asked for
};

class WireSession {
 public:
  // The frames of a first request, for Link::open: hello, then the request. `id` numbers are given by the session: 1 and 2.
  // beat: how often the host is to say that it is alive.
  static std::string opening(Millis beat, json::object request);
  static std::string opening(Millis beat);  // hello only

  WireSession(Clock& clock, std::unique_ptr<Channel> channel, std::string host, Millis beat);
  const HelloReply& hello() const { return hello_; }
  Task<> read_hello(Elapsed deadline);  // once, first
  void no_request_in_opening() { sent_ = 1; }  // after opening() without a request

  struct Expect {
    Elapsed deadline;
    bool data = false;                               // data frames follow the reply, ended by an empty one
    std::function<void(std::string)> on_event;       // "armed", …; not "alive"
  };
  // The reply to the request that opening() carried, or to the next of what send() sent.
  Task<WireReply> reply(Expect expect);
  Task<> send(json::object request);
  Task<> send_data(std::string_view bytes, std::shared_ptr<const void> owner);  // data frames, ended by an empty one
  void close() { channel_->close(); }
  bool broken() const { return broken_; }
  // Before it is used again: a host that should have been heard of meanwhile, and was not, is behind a connection that somebody in
  // between has forgotten. Does not wait.
  Task<bool> fell_silent();

 private:
  Task<Frame> next_frame(Elapsed deadline);
  Task<> hear(Elapsed deadline);
  [[noreturn]] void fail(const std::string& what, LinkFault fault = LinkFault::host);
  Clock& clock_;
  std::unique_ptr<Channel> channel_;
  std::string host_;
  Millis beat_;
  Millis silence_;          // longer without a byte: the session is given up
  Elapsed heard_;           // when a byte last came
  bool beats_ = false;      // the host said that it would
  FrameReader reader_;
  HelloReply hello_;
  std::int64_t sent_ = 0, answered_ = 0;
  bool broken_ = false;
};

inline constexpr int kMissedBeats = 5;    // so many without a byte: the session is given up
inline constexpr Millis kSilence{20000};  // the same of a host program that beats only while it works, and before its hello

}  // namespace ripcord
