// SHA-256 (FIPS 180-4) by OpenSSL's EVP, and the 32-byte value it yields.
#pragma once
#include <array>
#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace ripcord {

struct Digest {
  std::array<std::uint8_t, 32> bytes{};

  std::string hex() const;                                  // 64 lower-case digits
  std::string short_hex() const { return hex().substr(0, 12); }
  static std::optional<Digest> parse(std::string_view hex);  // exactly 64 lower-case hex digits
  static Digest require(std::string_view hex);               // as parse, Error otherwise
  bool is_zero() const;
  auto operator<=>(const Digest&) const = default;
};

// Streaming SHA-256. Not copyable; finish() may be called once.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void update(std::string_view bytes);
  Digest finish();

 private:
  void* context_;  // EVP_MD_CTX
};

Digest sha256(std::string_view bytes);

// RFC 6962 section 2.1: leaf hash is SHA-256(0x00 || bytes), node hash SHA-256(0x01 || left || right).
Digest leaf_hash(std::string_view bytes);
Digest node_hash(const Digest& left, const Digest& right);

std::string to_hex(std::span<const std::uint8_t> bytes);
std::string random_hex(std::size_t byte_count);  // from the kernel; for ids and nonces

}  // namespace ripcord

template <>
struct std::hash<ripcord::Digest> {
  std::size_t operator()(const ripcord::Digest& d) const noexcept {
    std::size_t h = 0;
    for (int i = 0; i < 8; ++i) h = h << 8 | d.bytes[i];
    return h;
  }
};
