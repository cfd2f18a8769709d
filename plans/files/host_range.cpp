#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "plans/files/fleet.hpp"

namespace ripcord {
namespace {

constexpr std::size_t kMaxNames = 100000;

[[noreturn]] void bad_pattern(const std::string& pattern, const std::string& why) {
  throw Error(fmt::format("range '{}': {}", escape_terminal(pattern), why), "ranges look like web-[01:20] or [a,b]-[1:3]", Exit::invalid_file);
}

// "01:20" or "a,b" or a mixture of both.
std::vector<std::string> choices(const std::string& pattern, const std::string& inside) {
  std::vector<std::string> out;
  for (const auto& part : split(inside, ',')) {
    auto colon = part.find(':');
    if (colon == std::string::npos) {
      if (part.empty()) bad_pattern(pattern, "a value is missing within [ ]");
      out.push_back(part);
      continue;
    }
    auto first = part.substr(0, colon), last = part.substr(colon + 1);
    auto number = [&](const std::string& digits) {
      std::uint64_t n = 0;
      auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), n);
      if (ec != std::errc() || end != digits.data() + digits.size() || digits.size() > 18)
        bad_pattern(pattern, fmt::format("'{}' is not a number", escape_terminal(digits)));
      return n;
    };
    auto from = number(first), to = number(last);
    bool padded = (first.size() > 1 && first[0] == '0') || (last.size() > 1 && last[0] == '0');
    if (padded && first.size() != last.size()) bad_pattern(pattern, fmt::format("'{}' and '{}' need the same number of digits", first, last));
    if (from > to) bad_pattern(pattern, fmt::format("'{}' is above '{}'", first, last));
    if (to - from >= kMaxNames) bad_pattern(pattern, fmt::format("more than {} names", kMaxNames));
    for (auto n = from; n <= to; ++n) out.push_back(fmt::format("{:0{}}", n, padded ? first.size() : 1));
    if (out.size() > kMaxNames) bad_pattern(pattern, fmt::format("more than {} names", kMaxNames));
  }
  return out;
}

}  // namespace

std::vector<std::string> expand_range(const std::string& pattern) {
  std::vector<std::string> names(1);
  for (std::size_t at = 0; at < pattern.size();) {
    auto open = std::min(pattern.find_first_of("[]", at), pattern.size());
    for (auto& name : names) name += pattern.substr(at, open - at);
    if (open == pattern.size()) break;
    auto close = pattern.find_first_of("[]", open + 1);
    if (pattern[open] == ']' || close == std::string::npos || pattern[close] != ']') bad_pattern(pattern, "'[' and ']' do not match");
    auto parts = choices(pattern, pattern.substr(open + 1, close - open - 1));
    if (names.size() * parts.size() > kMaxNames) bad_pattern(pattern, fmt::format("more than {} names", kMaxNames));
    std::vector<std::string> longer;
    longer.reserve(names.size() * parts.size());
    for (const auto& name : names)
      for (const auto& part : parts) longer.push_back(name + part);
    names = std::move(longer);
    at = close + 1;
  }
  return names;
}

}  // namespace ripcord
