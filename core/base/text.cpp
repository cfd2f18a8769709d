#include "core/base/text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

namespace ripcord {
namespace {

struct Unit {
  std::string_view name;
  std::int64_t ms;
};
constexpr std::array<Unit, 5> kUnits{{{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}}};

// Length of the valid UTF-8 sequence at the start of `s`, 0 if there is none. `out` is the code point.
std::size_t decode_utf8(std::string_view s, char32_t& out) {
  auto b = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  auto follows = [&](std::size_t i) { return i < s.size() && (b(i) & 0xC0) == 0x80; };
  if (s.empty()) return 0;
  if (b(0) < 0x80) return out = b(0), 1;
  if (b(0) >= 0xC2 && b(0) < 0xE0 && follows(1)) return out = (b(0) & 0x1F) << 6 | (b(1) & 0x3F), 2;
  if ((b(0) & 0xF0) == 0xE0 && follows(1) && follows(2)) {
    out = (b(0) & 0x0F) << 12 | (b(1) & 0x3F) << 6 | (b(2) & 0x3F);
    return out >= 0x800 && (out < 0xD800 || out > 0xDFFF) ? 3 : 0;
  }
  if (b(0) >= 0xF0 && b(0) < 0xF5 && follows(1) && follows(2) && follows(3)) {
    out = (b(0) & 0x07) << 18 | (b(1) & 0x3F) << 12 | (b(2) & 0x3F) << 6 | (b(3) & 0x3F);
    return out >= 0x10000 && out <= 0x10FFFF ? 4 : 0;
  }
  return 0;
}

bool invisible_or_control(char32_t c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) || (c >= 0x200B && c <= 0x200F) || (c >= 0x2028 && c <= 0x202E) ||
         (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF;
}

}  // namespace

std::optional<Millis> parse_duration(std::string_view text) {
  std::int64_t total = 0;
  std::size_t next_unit = 0;
  if (text.empty()) return std::nullopt;
  while (!text.empty()) {
    std::int64_t number = 0;
    auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (ec != std::errc() || number < 0 || text[0] == '-') return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    auto letters = std::min(text.find_first_of("0123456789"), text.size());
    auto unit = std::find_if(kUnits.begin() + static_cast<std::ptrdiff_t>(next_unit), kUnits.end(),
                             [&](const Unit& u) { return u.name == text.substr(0, letters); });
    if (unit == kUnits.end() || number > std::numeric_limits<std::int64_t>::max() / 1000 / unit->ms) return std::nullopt;
    next_unit = static_cast<std::size_t>(unit - kUnits.begin()) + 1;
    total += number * unit->ms;
    text.remove_prefix(letters);
  }
  return Millis(total);
}

std::string format_duration(Millis d) {
  std::int64_t ms = d.count();
  if (ms < 0) return "-" + format_duration(-d);
  if (ms < 1000) return fmt::format("{}ms", ms);
  if (ms < 10000 && ms % 1000) {
    auto s = fmt::format("{:.2f}", static_cast<double>(ms) / 1000);
    while (s.back() == '0') s.pop_back();
    if (s.back() == '.') s.pop_back();
    return s + "s";
  }
  ms = (ms + 500) / 1000 * 1000;
  std::string out;
  int parts = 0;
  for (const auto& u : kUnits) {
    if (u.ms == 1) break;
    if (auto n = ms / u.ms; n > 0 && parts < 2) {
      // 24h reads better than 1d, and is what plans say
      if (u.name == "d" && ms < 2 * u.ms) continue;
      out += fmt::format("{}{}", n, u.name);
      ms %= u.ms;
      ++parts;
    } else if (parts > 0) {
      ++parts;
    }
  }
  return out;
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
  std::uint64_t number = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (ec != std::errc()) return std::nullopt;
  auto unit = text.substr(static_cast<std::size_t>(end - text.data()));
  int shift = unit.empty() || unit == "B" ? 0 : unit == "KiB" ? 10 : unit == "MiB" ? 20 : unit == "GiB" ? 30 : unit == "TiB" ? 40 : -1;
  if (shift < 0 || (shift && number >> (64 - shift))) return std::nullopt;
  return number << shift;
}

std::string format_size(std::uint64_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes);
  const char* const units[] = {"KiB", "MiB", "GiB", "TiB"};
  int u = -1;
  while (value >= 1024 && u < 3) value /= 1024, ++u;
  return fmt::format("{:.1f} {}", value, units[u]);
}

std::string escape_terminal(std::string_view text, bool keep_newlines) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    char32_t c = 0;
    auto n = decode_utf8(text, c);
    if (n == 0) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[0]));
      n = 1;
    } else if (c == '\n' && keep_newlines) {
      out += '\n';
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t' && keep_newlines) {
      out += '\t';
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (invisible_or_control(c)) {
      out += c < 0x100 ? fmt::format("\\x{:02x}", static_cast<unsigned>(c)) : fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += text.substr(0, n);
    }
    text.remove_prefix(n);
  }
  return out;
}

std::optional<std::string> did_you_mean(std::string_view word, const std::vector<std::string>& candidates) {
  std::optional<std::string> best;
  std::size_t best_distance = std::max<std::size_t>(1, word.size() / 3) + 1;
  for (const auto& c : candidates) {
    std::vector<std::size_t> row(c.size() + 1), previous(c.size() + 1), before(c.size() + 1);
    for (std::size_t j = 0; j <= c.size(); ++j) previous[j] = j;
    for (std::size_t i = 1; i <= word.size(); ++i) {
      row[0] = i;
      for (std::size_t j = 1; j <= c.size(); ++j) {
        row[j] = std::min({previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (word[i - 1] != c[j - 1])});
        if (i > 1 && j > 1 && word[i - 1] == c[j - 2] && word[i - 2] == c[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
      }
      before = previous;
      previous = row;
    }
    if (previous[c.size()] < best_distance) best_distance = previous[c.size()], best = c;
  }
  return best;
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (true) {
    auto at = text.find(separator);
    parts.emplace_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  return fmt::format("{}", fmt::join(parts, separator));
}

std::string_view trim(std::string_view text) {
  auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    char32_t c = 0;
    auto n = decode_utf8(text, c);
    if (n == 0) return false;
    text.remove_prefix(n);
  }
  return true;
}

bool glob_match(std::string_view pattern, std::string_view text) {
  std::size_t p = 0, t = 0, star = std::string_view::npos, mark = 0;
  while (t < text.size()) {
    if (p < pattern.size() && (pattern[p] == '?' || (pattern[p] == text[t] && pattern[p] != '*'))) ++p, ++t;
    else if (p < pattern.size() && pattern[p] == '*') star = p++, mark = t;
    else if (star != std::string_view::npos) p = star + 1, t = ++mark;
    else return false;
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::string shell_quote(std::string_view argument) {
  if (!argument.empty() && argument.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-") ==
                               std::string_view::npos)
    return std::string(argument);
  std::string out = "'";
  for (char c : argument) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

}  // namespace ripcord
