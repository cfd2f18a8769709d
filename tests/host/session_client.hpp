// A controller's end of a session with the host program, frame by frame, and a release to send through it.
#pragma once
#include <poll.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "core/base/files.hpp"
#include "core/base/wire.hpp"
#include "tests/host/test_host.hpp"

namespace ripcord::test {

inline constexpr const char* kNonce = "0123456789abcdef";

class SessionClient {
 public:
  void send(const std::string& bytes) { write_all(to_.get(), bytes, "the session"); }
  void request(json::object o) {
    std::string out;
    append_frame(out, FrameKind::control, json::serialize(o));
    send(out);
  }
  void data(const std::string& bytes) {
    std::string out;
    if (!bytes.empty()) append_frame(out, FrameKind::data, bytes);
    append_frame(out, FrameKind::data, "");
    send(out);
  }
  std::string line() {
    std::string out;
    while (out.empty() || out.back() != '\n') {
      if (!fill()) return out;
      auto newline = raw_.find('\n');
      if (newline == std::string::npos) continue;
      out = raw_.substr(0, newline + 1);
      reader_.feed(raw_.substr(newline + 1));
    }
    return out;
  }
  // The next frame, events left out; an empty payload of kind data at the end of the stream.
  Frame frame() {
    while (true) {
      while (auto f = reader_.next()) {
        if (f->kind == FrameKind::control && f->payload.find("\"event\"") != std::string::npos) events.push_back(f->payload);
        else return *f;
      }
      raw_.clear();
      if (!fill()) return {FrameKind::data, ""};
      reader_.feed(raw_);
    }
  }
  json::object reply() {
    auto f = frame();
    if (f.kind != FrameKind::control) return {};
    return parse_json_object(f.payload, "a reply");
  }
  void hang_up() { to_.reset(); }
  bool ended() { return frame().payload.empty(); }
  std::vector<std::string> events;

 protected:
  bool fill() {
    pollfd p{from_.get(), POLLIN, 0};
    if (::poll(&p, 1, 20000) <= 0) return false;
    char bytes[65536];
    ssize_t n = ::read(from_.get(), bytes, sizeof bytes);
    if (n <= 0) return false;
    raw_.append(bytes, static_cast<std::size_t>(n));
    return true;
  }
  Fd to_, from_;
  std::string raw_;
  FrameReader reader_;
};

inline json::object with_do(json::object o, const std::string& name, int id) {
  o["do"] = name;
  o["id"] = id;
  return o;
}

inline TestRelease served_release(const std::string& version = "1.0") {
  TestRelease r(version);
  r.file("code/bin/server", std::string(200000, 's') + version, 0755);
  r.file("config/common/app.conf.tmpl", "host ${host}\n");
  return r;
}

}  // namespace ripcord::test
