// One conversation with a host program over a channel: sends frames, matches replies by id, passes events on, and gives up when
// the host is silent (it says "alive" every 5 s) or the deadline of the request has come.
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
  static std::string opening(json::object request);
  static std::string opening();  // hello only

  WireSession(Clock& clock, std::unique_ptr<Channel> channel, std::string host);
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

 private:
  Task<Frame> next_frame(Elapsed deadline);
  [[noreturn]] void fail(const std::string& what, LinkFault fault = LinkFault::host);
  Clock& clock_;
  std::unique_ptr<Channel> channel_;
  std::string host_;
  FrameReader reader_;
  HelloReply hello_;
  std::int64_t sent_ = 0, answered_ = 0;
  bool broken_ = false;
};

inline constexpr Millis kSilence{20000};  // longer without a byte while a request runs: the session is given up

}  // namespace ripcord
