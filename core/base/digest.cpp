#include "core/base/digest.hpp"

#include <openssl/evp.h>
#include <sys/random.h>

#include <cerrno>

#include "core/base/error.hpp"

namespace ripcord {
namespace {

// Fetched once: EVP_sha256() goes through a fetch on every init otherwise, which costs more than hashing a small file.
const EVP_MD* sha256_algorithm() {
  static EVP_MD* md = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return md;
}

// Of each byte as a hex digit; 0xff: it is none. Manifests and trees have one digest a file, so they are read by the thousand.
constexpr auto kHexValues = [] {
  std::array<std::uint8_t, 256> values{};
  values.fill(0xff);
  for (int i = 0; i < 10; ++i) values[static_cast<std::size_t>('0' + i)] = static_cast<std::uint8_t>(i);
  for (int i = 0; i < 6; ++i) values[static_cast<std::size_t>('a' + i)] = static_cast<std::uint8_t>(10 + i);
  return values;
}();

}  // namespace

std::string to_hex(std::span<const std::uint8_t> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (auto b : bytes) {
    out.push_back(kDigits[b >> 4]);
    out.push_back(kDigits[b & 15]);
  }
  return out;
}

std::string Digest::hex() const { return to_hex(bytes); }

std::optional<Digest> Digest::parse(std::string_view hex) {
  if (hex.size() != 64) return std::nullopt;
  Digest d;
  unsigned seen = 0;
  for (std::size_t i = 0; i < 32; ++i) {
    unsigned hi = kHexValues[static_cast<std::uint8_t>(hex[2 * i])], lo = kHexValues[static_cast<std::uint8_t>(hex[2 * i + 1])];
    seen |= hi | lo;
    d.bytes[i] = static_cast<std::uint8_t>(hi << 4 | lo);
  }
  if (seen > 15) return std::nullopt;
  return d;
}

Digest Digest::require(std::string_view hex) {
  if (auto d = parse(hex)) return *d;
  throw Error("'" + std::string(hex.substr(0, 80)) + "' is not a SHA-256 digest (64 lower-case hex digits)");
}

bool Digest::is_zero() const { return *this == Digest{}; }

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  if (!context_ || EVP_DigestInit_ex(static_cast<EVP_MD_CTX*>(context_), sha256_algorithm(), nullptr) != 1)
    throw Error("cannot start SHA-256: OpenSSL refused");
}

Sha256::~Sha256() { EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context_)); }

void Sha256::update(std::string_view bytes) {
  EVP_DigestUpdate(static_cast<EVP_MD_CTX*>(context_), bytes.data(), bytes.size());
}

Digest Sha256::finish() {
  Digest d;
  unsigned size = 32;
  EVP_DigestFinal_ex(static_cast<EVP_MD_CTX*>(context_), d.bytes.data(), &size);
  return d;
}

Digest sha256(std::string_view bytes) {
  Sha256 h;
  h.update(bytes);
  return h.finish();
}

Digest leaf_hash(std::string_view bytes) {
  Sha256 h;
  h.update(std::string_view("\0", 1));
  h.update(bytes);
  return h.finish();
}

Digest node_hash(const Digest& left, const Digest& right) {
  Sha256 h;
  h.update("\x01");
  h.update({reinterpret_cast<const char*>(left.bytes.data()), 32});
  h.update({reinterpret_cast<const char*>(right.bytes.data()), 32});
  return h.finish();
}

std::string random_hex(std::size_t byte_count) {
  std::string raw(byte_count, '\0');
  std::size_t have = 0;
  while (have < byte_count) {
    ssize_t n = getrandom(raw.data() + have, byte_count - have, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw os_error("read random bytes from", "getrandom", errno);
    have += static_cast<std::size_t>(n);
  }
  return to_hex({reinterpret_cast<const std::uint8_t*>(raw.data()), raw.size()});
}

}  // namespace ripcord
