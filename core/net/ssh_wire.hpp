// The SSH data types (RFC 4251 section 5) and base64 (RFC 4648, with padding), as key files, known_hosts and the agent use them.
// None of those bytes are trusted: reading past the end is an Error.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ripcord {

class SshReader {
 public:
  SshReader(std::string_view bytes, std::string_view what) : rest_(bytes), what_(what) {}
  std::uint8_t byte();
  std::uint32_t u32();
  std::string_view string();                  // a view into the bytes given
  std::string_view take(std::size_t count);
  bool done() const { return rest_.empty(); }
  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_, what_;
};

void put_u32(std::string& out, std::uint32_t value);
void put_string(std::string& out, std::string_view bytes);
void put_mpint(std::string& out, std::string_view magnitude);  // big-endian, unsigned, leading zeros allowed

std::string base64(std::string_view bytes);
std::optional<std::string> unbase64(std::string_view text);    // nullopt unless it is exactly what base64() would print

}  // namespace ripcord
