#include "core/net/source_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

namespace ripcord {
namespace {

constexpr std::size_t kShown = 140;  // code points of a line; an inventory may be one line of megabytes

bool continues(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

// Each code point as a terminal may show it.
std::vector<std::string> cells(std::string_view line) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < line.size();) {
    std::size_t n = 1;
    while (i + n < line.size() && continues(line[i + n])) ++n;
    out.push_back(escape_terminal(line.substr(i, n)));
    i += n;
  }
  return out;
}

std::size_t width_of(const std::vector<std::string>& shown, std::size_t from, std::size_t to) {
  std::size_t width = 0;
  for (std::size_t i = from; i < to && i < shown.size(); ++i)
    width += static_cast<std::size_t>(std::count_if(shown[i].begin(), shown[i].end(), [](char c) { return !continues(c); }));
  return width;
}

std::size_t find_word(const std::string& lower, std::string_view word) {
  for (auto at = lower.find(word); at != std::string::npos; at = lower.find(word, at + 1)) {
    auto after = lower.find_first_not_of("\"' ", at + word.size());
    if (after != std::string::npos && (lower[after] == '=' || lower[after] == ':')) return after + 1;
  }
  return std::string::npos;
}

}  // namespace

std::string mask_secrets(std::string_view line) {
  std::string out(line), lower(line);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  for (std::string_view word : std::array<std::string_view, 5>{"password", "passwd", "passphrase", "secret", "token"}) {
    auto at = find_word(lower, word);
    if (at != std::string::npos && at < out.size()) {
      out = out.substr(0, at) + " ***";
      lower.resize(std::min(lower.size(), at));
    }
  }
  auto scheme = out.find("://");
  auto user_end = out.rfind('@');
  if (scheme != std::string::npos && user_end != std::string::npos && user_end > scheme)
    out = out.substr(0, scheme + 3) + "***" + out.substr(user_end);
  return out;
}

SourceText::SourceText(std::string text) : text_(std::move(text)) {
  starts_.push_back(0);
  for (std::size_t i = 0; i < text_.size(); ++i)
    if (text_[i] == '\n') starts_.push_back(i + 1);
}

YamlPlace SourceText::place(std::size_t pos) const {
  pos = std::min(pos, text_.size());
  auto line = std::upper_bound(starts_.begin(), starts_.end(), pos) - starts_.begin();
  auto start = starts_[static_cast<std::size_t>(line) - 1];
  return {static_cast<int>(line), static_cast<int>(code_points(start, pos - start)) + 1};
}

std::size_t SourceText::code_points(std::size_t pos, std::size_t length) const {
  auto part = std::string_view(text_).substr(std::min(pos, text_.size()), length);
  return static_cast<std::size_t>(std::count_if(part.begin(), part.end(), [](char c) { return !continues(c); }));
}

std::string_view SourceText::line(int number) const {
  auto n = static_cast<std::size_t>(number);
  if (n == 0 || n > starts_.size()) return {};
  auto end = n < starts_.size() ? starts_[n] - 1 : text_.size();
  auto line = std::string_view(text_).substr(starts_[n - 1], end - starts_[n - 1]);
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  return line;
}

std::string SourceText::excerpt(YamlPlace place, std::size_t width) const {
  auto raw = line(place.line);
  auto masked = mask_secrets(raw);
  auto shown = cells(masked);
  auto column = static_cast<std::size_t>(std::max(place.column, 1)) - 1;
  bool caret = masked == raw;  // columns of a masked line mean nothing
  std::size_t from = caret && column > kShown / 2 ? column - kShown / 2 : 0;
  if (shown.size() <= kShown) from = 0;
  auto to = std::min(shown.size(), from + kShown);

  std::string out = fmt::format("{:4} | {}", place.line, from ? "..." : "");
  for (std::size_t i = from; i < to; ++i) out += shown[i];
  out += to < shown.size() ? "...\n" : "\n";
  if (!caret) return out;
  auto under = std::max<std::size_t>(1, width_of(shown, column, std::min(to, column + std::max<std::size_t>(width, 1))));
  return out + fmt::format("     | {}^{}\n", std::string(width_of(shown, from, column) + (from ? 3 : 0), ' '), std::string(under - 1, '~'));
}

}  // namespace ripcord
