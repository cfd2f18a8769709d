#include "manifests/shared/fields.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace ripcord {

std::string mode_text(unsigned mode) { return fmt::format("0{:03o}", mode); }

std::optional<unsigned> parse_mode(std::string_view text) {
  if (text.size() < 4 || text.size() > 5 || text[0] != '0') return std::nullopt;
  unsigned mode = 0;
  for (char c : text) {
    if (c < '0' || c > '7') return std::nullopt;
    mode = mode * 8 + static_cast<unsigned>(c - '0');
  }
  if (mode_text(mode) != text) return std::nullopt;
  return mode;
}

void FieldReader::finish() const {
  if (!strict_) return;
  for (const auto& m : object_) {
    std::string_view key(m.key().data(), m.key().size());
    if (std::find(known_.begin(), known_.end(), key) == known_.end())
      throw Error(fmt::format("member '{}' is not known", escape_terminal(key)));
  }
}

std::int64_t FieldReader::integer(const json::value& m, std::string_view key, std::int64_t low, std::int64_t high) {
  boost::json::error_code ec;
  auto n = m.to_number<std::int64_t>(ec);
  if (ec || m.is_double()) wrong(key, "a whole number");
  if (n < low || n > high) throw Error(fmt::format("member '{}' is {}, allowed is {} to {}", key, n, low, high));
  return n;
}

}  // namespace ripcord
