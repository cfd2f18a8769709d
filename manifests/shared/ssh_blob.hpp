// SSH's binary strings (RFC 4251 section 5): a reader for hostile bytes, and the two writers we need.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/error.hpp"

namespace ripcord {

class SshBlob {
 public:
  // `what` names the bytes in errors: "the signature".
  SshBlob(std::string_view bytes, const char* what) : rest_(bytes), what_(what) {}

  std::uint32_t u32() {
    auto raw = raw_bytes(4);
    std::uint32_t n = 0;
    for (char c : raw) n = n << 8 | static_cast<unsigned char>(c);
    return n;
  }
  std::string_view string() { return raw_bytes(u32()); }
  std::string_view raw_bytes(std::size_t size) {
    if (size > rest_.size()) throw Error(std::string(what_) + " ends too early");
    auto part = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return part;
  }
  // A non-negative mpint without its leading zeros.
  std::string_view number(std::size_t max_bytes) {
    auto bytes = string();
    if (!bytes.empty() && (static_cast<unsigned char>(bytes[0]) & 0x80)) throw Error(std::string(what_) + " holds a negative number");
    while (!bytes.empty() && bytes[0] == '\0') bytes.remove_prefix(1);
    if (bytes.size() > max_bytes) throw Error(std::string(what_) + " holds a number that is too large");
    return bytes;
  }
  void end() const {
    if (!rest_.empty()) throw Error(std::string(what_) + " has bytes after its end");
  }

 private:
  std::string_view rest_;
  const char* what_;
};

inline void append_ssh_string(std::string& out, std::string_view bytes) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(bytes.size() >> shift & 0xff));
  out.append(bytes);
}

}  // namespace ripcord
