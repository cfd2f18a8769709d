// Frames between controller and host program (docs/protocol.md): 4 bytes big-endian payload length, 1 byte kind, payload.
// Either side treats a frame it cannot read as the end of the session; nothing in it is trusted.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ripcord {

enum class FrameKind : char {
  control = 'J',  // one JSON object, UTF-8, at most kMaxControl bytes
  data = 'D',     // raw bytes that belong to the request or reply before it, at most kMaxData bytes
};

struct Frame {
  FrameKind kind = FrameKind::control;
  std::string payload;
};

inline constexpr std::uint32_t kMaxControl = 16u << 20;
inline constexpr std::uint32_t kMaxData = 1u << 20;
inline constexpr std::size_t kFrameHeader = 5;

void append_frame(std::string& out, FrameKind kind, std::string_view payload);

// Feed bytes in any portions; take complete frames out. Error on an unknown kind or a length over the limit.
class FrameReader {
 public:
  void feed(std::string_view bytes);
  std::optional<Frame> next();
  bool empty() const { return buffer_.size() == at_; }  // no partial frame is held

 private:
  std::string buffer_;
  std::size_t at_ = 0;
};

// The first bytes of a session. The controller sends `RIPCORD <nonce>\n`, the host program answers
// `RIPCORD-HOST <nonce>\n`; whatever a noisy login shell printed before that line is skipped (at most 64 KiB).
inline constexpr std::string_view kHelloToHost = "RIPCORD ";
inline constexpr std::string_view kHelloFromHost = "RIPCORD-HOST ";
inline constexpr std::size_t kMaxNoise = 64 * 1024;

}  // namespace ripcord
