// The SSH data types (RFC 4251 section 5), base64 (RFC 4648, with padding) and key fingerprints, as key files, known_hosts, the agent
// and signatures use them. None of those bytes are trusted: reading past the end is an Error.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ripcord {

class SshReader {
 public:
  // `what` names the bytes in errors ("the signature") and outlives the reader.
  SshReader(std::string_view bytes, std::string_view what) : rest_(bytes), what_(what) {}
  std::uint8_t byte();
  std::uint32_t u32();
  std::string_view string();                  // a view into the bytes given
  std::string_view take(std::size_t count);
  std::string_view number(std::size_t max_bytes);  // a non-negative mpint without its leading zeros
  void end() const;                                // Error when anything is left
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

std::string ssh_fingerprint(std::string_view key_blob);  // "SHA256:" and base64 without padding, as ssh-keygen -l prints it

}  // namespace ripcord
