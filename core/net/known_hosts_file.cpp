#include "core/net/known_hosts_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "core/base/error.hpp"
#include "core/base/text.hpp"

namespace ripcord {

std::string with_host_key(std::string text, std::string_view line) {
  if (!text.empty() && !text.ends_with('\n')) text += '\n';
  text += line;
  return text + '\n';
}

std::string with_other_host_key(std::string_view text, int number, std::string_view name, std::string_view line) {
  auto lines = split(text, '\n');
  if (number < 1 || number > static_cast<int>(lines.size())) throw Error(fmt::format("known_hosts has no line {} any more", number), "try again", Exit::refused);
  auto& old = lines[static_cast<std::size_t>(number - 1)];
  auto begin = old.find_first_not_of(" \t");
  auto end = std::min(old.find_first_of(" \t", begin == old.npos ? 0 : begin), old.size());
  const std::string field = begin == old.npos ? "" : old.substr(begin, end - begin);
  auto words = split(field, ',');
  if (field.starts_with('@') || (!field.starts_with("|1|") && field.find_first_of("*?!") != field.npos))
    throw Error(fmt::format("line {} of known_hosts speaks about more than '{}' ({})", number, name, escape_terminal(field)), "nothing was changed; edit that line by hand", Exit::refused);
  auto same = [&](const std::string& word) {
    return std::equal(word.begin(), word.end(), name.begin(), name.end(), [](char a, char b) { return (a | 0x20) == (b | 0x20); });
  };
  if (words.size() < 2) {
    old = line;
    return join(lines, "\n");
  }
  std::erase_if(words, same);
  old = join(words, ",") + old.substr(end);
  return with_host_key(join(lines, "\n"), line);
}

}  // namespace ripcord
