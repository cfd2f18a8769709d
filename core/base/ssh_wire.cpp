#include "core/base/ssh_wire.hpp"

#include <array>

#include "core/base/digest.hpp"
#include "core/base/error.hpp"

namespace ripcord {

std::string_view SshReader::take(std::size_t count) {
  if (rest_.size() < count) throw Error(std::string(what_) + " is cut short");
  auto taken = rest_.substr(0, count);
  rest_.remove_prefix(count);
  return taken;
}

std::uint8_t SshReader::byte() { return static_cast<std::uint8_t>(take(1)[0]); }

std::uint32_t SshReader::u32() {
  std::uint32_t value = 0;
  for (char c : take(4)) value = value << 8 | static_cast<std::uint8_t>(c);
  return value;
}

std::string_view SshReader::string() { return take(u32()); }

std::string_view SshReader::number(std::size_t max_bytes) {
  auto bytes = string();
  if (!bytes.empty() && (static_cast<std::uint8_t>(bytes[0]) & 0x80)) throw Error(std::string(what_) + " holds a negative number");
  while (!bytes.empty() && bytes[0] == '\0') bytes.remove_prefix(1);
  if (bytes.size() > max_bytes) throw Error(std::string(what_) + " holds a number that is too large");
  return bytes;
}

void SshReader::end() const {
  if (!rest_.empty()) throw Error(std::string(what_) + " has bytes after its end");
}

void put_u32(std::string& out, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(value >> shift & 0xff));
}

void put_string(std::string& out, std::string_view bytes) {
  put_u32(out, static_cast<std::uint32_t>(bytes.size()));
  out.append(bytes);
}

void put_mpint(std::string& out, std::string_view magnitude) {
  while (!magnitude.empty() && magnitude.front() == 0) magnitude.remove_prefix(1);
  bool sign_bit = !magnitude.empty() && (static_cast<std::uint8_t>(magnitude.front()) & 0x80) != 0;
  put_u32(out, static_cast<std::uint32_t>(magnitude.size() + (sign_bit ? 1 : 0)));
  if (sign_bit) out.push_back(0);
  out.append(magnitude);
}

namespace {
constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
}

std::string base64(std::string_view bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) group = group << 8 | (i + k < bytes.size() ? static_cast<std::uint8_t>(bytes[i + k]) : 0u);
    for (std::size_t k = 0; k < 4; ++k)
      out.push_back(i + k <= bytes.size() ? kDigits[group >> (18 - 6 * k) & 63] : '=');
  }
  return out;
}

std::optional<std::string> unbase64(std::string_view text) {
  static const auto value_of = [] {
    std::array<std::int8_t, 256> table{};
    table.fill(-1);
    for (std::size_t i = 0; i < kDigits.size(); ++i) table[static_cast<std::uint8_t>(kDigits[i])] = static_cast<std::int8_t>(i);
    return table;
  }();
  if (text.size() % 4 != 0) return std::nullopt;
  std::string out;
  out.reserve(text.size() / 4 * 3);
  for (std::size_t i = 0; i < text.size(); i += 4) {
    bool last = i + 4 == text.size();
    std::size_t pad = last ? (text[i + 3] == '=') + (text[i + 3] == '=' && text[i + 2] == '=') : 0;
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 4; ++k) {
      auto v = k >= 4 - pad ? 0 : value_of[static_cast<std::uint8_t>(text[i + k])];
      if (v < 0) return std::nullopt;
      group = group << 6 | static_cast<std::uint32_t>(v);
    }
    for (std::size_t k = 0; k < 3 - pad; ++k) out.push_back(static_cast<char>(group >> (16 - 8 * k) & 0xff));
    if ((pad == 1 && (group & 0xff)) || (pad == 2 && (group & 0xffff))) return std::nullopt;  // bits nobody would print
  }
  return out;
}

std::string ssh_fingerprint(std::string_view key_blob) {
  auto digest = sha256(key_blob);
  auto text = base64({reinterpret_cast<const char*>(digest.bytes.data()), digest.bytes.size()});
  while (text.ends_with('=')) text.pop_back();
  return "SHA256:" + text;
}

}  // namespace ripcord
