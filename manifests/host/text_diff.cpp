#include "manifests/host/text_diff.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "core/base/text.hpp"

namespace ripcord {
namespace {

constexpr std::size_t kContext = 3, kMostCells = 4u << 20;

std::vector<std::string> lines_of(std::string_view text) {
  auto lines = split(text, '\n');
  if (!lines.empty() && lines.back().empty()) lines.pop_back();
  return lines;
}

struct Line {
  char mark;
  std::size_t a, b;  // where it is, or would be, in either text
};

// Longest common subsequence by the table: files of configuration are short, and a table cannot go wrong.
std::vector<Line> compare(const std::vector<std::string>& a, const std::vector<std::string>& b, std::size_t begin, std::size_t end_a, std::size_t end_b) {
  std::size_t n = end_a - begin, m = end_b - begin;
  std::vector<std::uint32_t> table((n + 1) * (m + 1));
  auto at = [&](std::size_t i, std::size_t j) -> std::uint32_t& { return table[i * (m + 1) + j]; };
  for (std::size_t i = n; i-- > 0;)
    for (std::size_t j = m; j-- > 0;)
      at(i, j) = a[begin + i] == b[begin + j] ? at(i + 1, j + 1) + 1 : std::max(at(i + 1, j), at(i, j + 1));
  std::vector<Line> out;
  for (std::size_t i = 0, j = 0; i < n || j < m;) {
    if (i < n && j < m && a[begin + i] == b[begin + j]) out.push_back({' ', begin + i++, begin + j++});
    else if (j == m || (i < n && at(i + 1, j) >= at(i, j + 1))) out.push_back({'-', begin + i++, begin + j});
    else out.push_back({'+', begin + i, begin + j++});
  }
  return out;
}

}  // namespace

std::string unified_diff(std::string_view expected, std::string_view found) {
  if (expected == found) return "";
  if (expected.find('\0') != expected.npos || found.find('\0') != found.npos) return "binary files differ\n";
  auto a = lines_of(expected), b = lines_of(found);
  std::size_t begin = 0, end_a = a.size(), end_b = b.size();
  while (begin < end_a && begin < end_b && a[begin] == b[begin]) ++begin;
  while (end_a > begin && end_b > begin && a[end_a - 1] == b[end_b - 1]) --end_a, --end_b;
  if ((end_a - begin + 1) * (end_b - begin + 1) > kMostCells) return "too much differs to be shown\n";
  if (begin == a.size() && begin == b.size()) return "only the newline at the end differs\n";

  std::vector<Line> all;
  for (std::size_t i = begin > kContext ? begin - kContext : 0; i < begin; ++i) all.push_back({' ', i, i});
  for (const auto& line : compare(a, b, begin, end_a, end_b)) all.push_back(line);
  for (std::size_t i = 0; i < kContext && end_a + i < a.size(); ++i) all.push_back({' ', end_a + i, end_b + i});

  std::string out;
  for (std::size_t i = 0; i < all.size();) {
    // A hunk ends where more than twice the context is common.
    while (i < all.size() && all[i].mark == ' ' && std::none_of(all.begin() + static_cast<std::ptrdiff_t>(i),
           all.begin() + static_cast<std::ptrdiff_t>(std::min(i + kContext + 1, all.size())), [](const Line& l) { return l.mark != ' '; })) ++i;
    std::size_t to = i, common = 0;
    for (; to < all.size() && common <= 2 * kContext; ++to) common = all[to].mark == ' ' ? common + 1 : 0;
    if (common > kContext) to -= common - kContext;
    if (to == i) break;
    auto count = [&](char other) { return std::count_if(all.begin() + static_cast<std::ptrdiff_t>(i), all.begin() + static_cast<std::ptrdiff_t>(to), [&](const Line& l) { return l.mark != other; }); };
    out += fmt::format("@@ -{},{} +{},{} @@\n", all[i].a + 1, count('+'), all[i].b + 1, count('-'));
    for (; i < to; ++i) out += all[i].mark + (all[i].mark == '+' ? b[all[i].b] : a[all[i].a]) + "\n";
  }
  return out;
}

std::string mask_assignments(const std::string& text) {
  static constexpr std::string_view kNames[] = {"password", "passwd", "passphrase", "secret", "token", "api_key", "apikey", "api-key",
                                                "private_key", "private-key", "access_key", "access-key", "credential"};
  std::string out;
  for (auto& line : split(text, '\n')) {
    std::string low = line;
    for (char& c : low) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    std::size_t name = std::string::npos;
    for (auto word : kNames) name = std::min(name, low.find(word));
    auto sign = name == std::string::npos ? name : low.find_first_of("=: ", name);
    auto value = sign == std::string::npos ? sign : line.find_first_not_of("=: \t\"'", sign);
    if (value != std::string::npos) line = line.substr(0, line.find_last_not_of(" \t\"'", value - 1) + 1) + " ***";
    out += line + "\n";
  }
  if (!out.empty()) out.pop_back();
  return out;
}

}  // namespace ripcord
