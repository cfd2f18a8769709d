// A text with line numbers, and the excerpt of it that an error message shows: the line and a caret under the place.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "core/net/yaml.hpp"

namespace ripcord {

class SourceText {
 public:
  explicit SourceText(std::string text);
  const std::string& text() const { return text_; }
  YamlPlace place(std::size_t pos) const;  // of a byte offset; columns count code points
  std::size_t code_points(std::size_t pos, std::size_t length) const;
  // Two lines, each ending in \n: the source line and `width` code points underlined. Safe for a terminal; secrets masked.
  std::string excerpt(YamlPlace place, std::size_t width) const;

 private:
  std::string_view line(int number) const;
  std::string text_;
  std::vector<std::size_t> starts_;  // byte offset of each line
};

// Passwords in a line of a file: `scheme://user:password@`, and whatever follows password=, secret: and the like.
std::string mask_secrets(std::string_view line);

}  // namespace ripcord
