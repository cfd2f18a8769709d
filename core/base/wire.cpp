#include "core/base/wire.hpp"

#include <fmt/format.h>

#include "core/base/error.hpp"

namespace ripcord {

void append_frame(std::string& out, FrameKind kind, std::string_view payload) {
  auto n = static_cast<std::uint32_t>(payload.size());
  if (payload.size() > (kind == FrameKind::control ? kMaxControl : kMaxData))
    throw Error(fmt::format("a frame of {} bytes is over the limit of the protocol", payload.size()));
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(n >> shift & 0xff));
  out.push_back(static_cast<char>(kind));
  out.append(payload);
}

void FrameReader::feed(std::string_view bytes) {
  if (at_ > 0 && at_ >= buffer_.size() / 2) {
    buffer_.erase(0, at_);
    at_ = 0;
  }
  buffer_.append(bytes);
}

std::optional<Frame> FrameReader::next() {
  if (buffer_.size() - at_ < kFrameHeader) return std::nullopt;
  std::uint32_t n = 0;
  for (std::size_t i = 0; i < 4; ++i) n = n << 8 | static_cast<unsigned char>(buffer_[at_ + i]);
  char kind = buffer_[at_ + 4];
  if (kind != 'J' && kind != 'D') throw Error(fmt::format("frame of unknown kind 0x{:02x}", static_cast<unsigned char>(kind)));
  if (n > (kind == 'J' ? kMaxControl : kMaxData)) throw Error(fmt::format("frame of {} bytes is over the limit", n));
  if (buffer_.size() - at_ - kFrameHeader < n) return std::nullopt;
  Frame frame{static_cast<FrameKind>(kind), buffer_.substr(at_ + kFrameHeader, n)};
  at_ += kFrameHeader + n;
  return frame;
}

}  // namespace ripcord
