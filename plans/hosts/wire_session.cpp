#include "plans/hosts/wire_session.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "plans/hosts/host_port.hpp"

namespace ripcord {

std::string WireSession::opening(Millis beat) {
  std::string out;
  append_frame(out, FrameKind::control, json::serialize(json::object{{"id", 1}, {"do", "hello"}, {"alive_ms", beat.count()}}));
  return out;
}

std::string WireSession::opening(Millis beat, json::object request) {
  std::string out = opening(beat);
  request["id"] = 2;
  append_frame(out, FrameKind::control, json::serialize(request));
  return out;
}

WireSession::WireSession(Clock& clock, std::unique_ptr<Channel> channel, std::string host, Millis beat)
    : clock_(clock), channel_(std::move(channel)), host_(std::move(host)), beat_(beat), silence_(kSilence), heard_(clock.elapsed()) {}

void WireSession::fail(const std::string& what, LinkFault fault) {
  broken_ = true;
  auto tail = trim(channel_->error_tail());
  throw LinkError(fault, fault == LinkFault::host ? "protocol" : "closed",
                  fmt::format("host '{}' {}{}", host_, what, tail.empty() ? "" : fmt::format(" (its standard error: {})", escape_terminal(tail))),
                  "the session was dropped; what the host did is in its journal");
}

Task<Frame> WireSession::next_frame(Elapsed deadline) {
  while (true) {
    std::optional<Frame> frame;
    std::string wrong;
    try {
      frame = reader_.next();
    } catch (const Error& e) {
      wrong = e.message();
    }
    if (!wrong.empty()) fail("sent bytes that are not the protocol: " + wrong);
    if (frame) co_return std::move(*frame);
    co_await hear(std::min(deadline, clock_.elapsed() + silence_));
  }
}

Task<> WireSession::hear(Elapsed deadline) {
  std::string bytes;
  try {
    bytes = co_await channel_->read(deadline);
  } catch (...) {
    broken_ = true;
    throw;
  }
  // The helper was killed, or the host goes down: nothing says that it would not do it when asked again.
  if (bytes.empty()) fail("closed the session in the middle of a request", LinkFault::unreachable);
  heard_ = clock_.elapsed();
  reader_.feed(bytes);
}

Task<bool> WireSession::fell_silent() {
  if (broken_ || !beats_ || clock_.elapsed() - heard_ < beat_ * 2) co_return broken_;
  try {
    co_await hear(clock_.elapsed() + Millis(1));  // what came meanwhile lies there
  } catch (const LinkError&) {
  }
  co_return broken_;
}

Task<> WireSession::read_hello(Elapsed deadline) {
  sent_ = 2;  // as opening() numbers them; reply() reads the hello's answer like any other
  Expect expect{deadline, false, {}};
  WireReply first = co_await reply(std::move(expect));
  std::string wrong;
  try {
    hello_ = hello_from_json(first.body);
  } catch (const Error& e) {
    wrong = e.message();
  }
  if (!wrong.empty()) fail("sent a hello that cannot be read: " + wrong);
  beats_ = std::find(hello_.features.begin(), hello_.features.end(), "alive") != hello_.features.end();
  if (beats_) silence_ = beat_ * kMissedBeats;
  if (hello_.protocol != kProtocol) fail(fmt::format("speaks protocol {}, and this program speaks {}", hello_.protocol, kProtocol));
}

Task<> WireSession::send(json::object request) {
  request["id"] = ++sent_;
  std::string out;
  append_frame(out, FrameKind::control, json::serialize(request));
  try {
    co_await channel_->write(std::move(out));
  } catch (...) {
    broken_ = true;
    throw;
  }
}

Task<> WireSession::send_data(std::string_view bytes, std::shared_ptr<const void> owner) {
  constexpr std::size_t kChunk = 128 * 1024;
  try {
    while (!bytes.empty()) {
      auto part = bytes.substr(0, kChunk);
      bytes.remove_prefix(part.size());
      std::string out;
      out.reserve(part.size() + 2 * kFrameHeader);
      append_frame(out, FrameKind::data, part);
      if (bytes.empty()) append_frame(out, FrameKind::data, {});
      co_await channel_->write(std::move(out));
    }
  } catch (...) {
    broken_ = true;
    throw;
  }
  owner.reset();
}

Task<WireReply> WireSession::reply(Expect expect) {
  std::int64_t id = ++answered_;
  WireReply out;
  while (true) {
    Frame frame = co_await next_frame(expect.deadline);
    if (frame.kind != FrameKind::control) fail("sent data that nobody asked for");
    std::string wrong;
    bool done = false;
    std::optional<HostError> refusal;
    try {
      auto body = parse_json_object(frame.payload, "a reply");
      if (body.contains("event")) {
        auto event = get_string(body, "event");
        if (event != "alive" && expect.on_event) expect.on_event(event);
      } else {
        if (get_int(body, "id") != id) throw Error("a reply to another request");
        if (get_bool(body, "ok")) out.body = std::move(body);
        else refusal = host_error_from_json(get_object(body, "error"));
        done = true;
      }
    } catch (const Error& e) {
      wrong = e.message();
    }
    if (!wrong.empty()) fail("sent a reply that cannot be read: " + wrong);
    if (refusal) throw HostRefusal(std::move(*refusal));
    if (done) break;
  }
  while (expect.data) {
    Frame frame = co_await next_frame(expect.deadline);
    if (frame.kind == FrameKind::control) {  // only events may come between
      if (frame.payload.find("\"event\"") == std::string::npos) fail("sent a reply where data was expected");
      continue;
    }
    if (frame.payload.empty()) break;
    out.data += frame.payload;
    if (out.data.size() > (1u << 30)) fail("sent more than 1 GiB of data");
  }
  co_return out;
}

}  // namespace ripcord
