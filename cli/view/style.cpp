#include "cli/view/style.hpp"

#include <algorithm>

#include "core/base/text.hpp"

namespace ripcord::cli {
namespace {

std::size_t bytes_of(unsigned char first) { return first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4; }

// Two columns for everything from Hangul on but punctuation, arrows and signs: rather too wide than a broken redraw.
std::size_t width_of(std::string_view c) {
  if (c.size() < 3) return 1;
  auto first = static_cast<unsigned char>(c[0]), second = static_cast<unsigned char>(c[1]);
  if (c.size() == 3 && (first == 0xE0 || (first == 0xE1 && second < 0x84) || (first == 0xE2 && second < 0xB0))) return 1;
  return 2;
}

template <class F>
void each_character(std::string_view text, F f) {
  while (!text.empty()) {
    auto c = text.substr(0, bytes_of(static_cast<unsigned char>(text[0])));
    if (!f(c)) return;
    text.remove_prefix(c.size());
  }
}

}  // namespace

std::string Style::paint(Tone tone, std::string_view text) const {
  if (!color || tone == Tone::plain || text.empty()) return std::string(text);
  const char* code = tone == Tone::bold   ? "1"
                     : tone == Tone::dim  ? "2"
                     : tone == Tone::good ? "32"
                     : tone == Tone::bad  ? "31"
                     : tone == Tone::warn ? "33"
                                          : "36";
  return "\x1b[" + std::string(code) + "m" + std::string(text) + "\x1b[0m";
}

std::size_t columns(std::string_view text) {
  std::size_t n = 0;
  each_character(text, [&](std::string_view c) { return n += width_of(c), true; });
  return n;
}

std::string cut_to(std::string_view text, std::size_t width) {
  if (columns(text) <= width) return std::string(text);
  std::string out;
  std::size_t used = 0;
  each_character(text, [&](std::string_view c) {
    if (used + width_of(c) + 1 > width) return false;
    used += width_of(c);
    out += c;
    return true;
  });
  return width > 0 ? out + "~" : out;
}

std::string pad_to(std::string text, std::size_t width) {
  auto n = columns(text);
  if (n < width) text.append(width - n, ' ');
  return text;
}

Line& Line::add(std::string_view text, Tone tone) {
  parts_.push_back({escape_terminal(text), tone});
  return *this;
}

Line& Line::cell(std::string_view text, std::size_t width, Tone tone) {
  parts_.push_back({pad_to(escape_terminal(text), width), tone});
  return *this;
}

std::string Line::render(const Style& style, std::size_t width) const {
  std::size_t total = 0;
  for (const auto& p : parts_) total += columns(p.text);
  bool whole = width == 0 || total <= width;
  std::size_t left = whole ? total : width;
  std::string out;
  for (std::size_t i = 0; i < parts_.size() && left > 0; ++i) {
    auto text = whole ? parts_[i].text : cut_to(parts_[i].text, left);
    left -= std::min(left, columns(text));
    bool last = std::all_of(parts_.begin() + static_cast<std::ptrdiff_t>(i) + 1, parts_.end(),
                            [](const Part& p) { return p.text.find_first_not_of(' ') == std::string::npos; });
    if (last) text.erase(text.find_last_not_of(' ') + 1);
    out += style.paint(parts_[i].tone, text);
    if (last) break;
  }
  return out;
}

std::vector<std::string> Table::render(const Style& style) const {
  std::vector<std::size_t> widths;
  for (const auto& h : heads_) widths.push_back(columns(h));
  for (const auto& r : rows_)
    for (std::size_t i = 0; i < r.size() && i < widths.size(); ++i) widths[i] = std::max(widths[i], columns(escape_terminal(r[i].text)));
  std::vector<std::string> out;
  auto put = [&](const std::vector<Cell>& cells, Tone all) {
    Line line;
    for (std::size_t i = 0; i < cells.size(); ++i)
      line.cell(cells[i].text, i + 1 < cells.size() ? widths[i] + 2 : 0, all == Tone::plain ? cells[i].tone : all);
    out.push_back(line.render(style));
  };
  std::vector<Cell> heads;
  for (const auto& h : heads_) heads.push_back({h});
  put(heads, Tone::bold);
  for (const auto& r : rows_) put(r, Tone::plain);
  return out;
}

}  // namespace ripcord::cli
