// Colours and signs, and a line of text that knows how wide it is: text is escaped and cut before colour is added.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace ripcord::cli {

enum class Tone { plain, bold, dim, good, bad, warn, active };

struct Style {
  bool color = false;
  bool unicode = false;
  std::string paint(Tone tone, std::string_view text) const;
};

// Columns that text takes on a terminal, rounded up for what may be wide.
std::size_t columns(std::string_view text);
std::string cut_to(std::string_view text, std::size_t width);  // with "…" (or "~") at the end when it did not fit
std::string pad_to(std::string text, std::size_t width);

class Line {
 public:
  Line& add(std::string_view text, Tone tone = Tone::plain);                      // escaped
  Line& cell(std::string_view text, std::size_t width, Tone tone = Tone::plain);  // padded to width
  std::string render(const Style& style, std::size_t width = 0) const;            // 0: as wide as it is; no blanks at the end
 private:
  struct Part {
    std::string text;
    Tone tone;
  };
  std::vector<Part> parts_;
};

// Columns aligned by their widest cell; the last is never padded.
class Table {
 public:
  explicit Table(std::vector<std::string> heads) : heads_(std::move(heads)) {}
  struct Cell {
    std::string text;
    Tone tone = Tone::plain;
  };
  void row(std::vector<Cell> cells) { rows_.push_back(std::move(cells)); }
  bool empty() const { return rows_.empty(); }
  std::vector<std::string> render(const Style& style) const;

 private:
  std::vector<std::string> heads_;
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace ripcord::cli
