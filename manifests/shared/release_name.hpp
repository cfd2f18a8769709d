// Folders of releases are called <version>-<the first 12 hex digits of the tree's digest> (docs/host-layout.md).
#pragma once
#include <string_view>

namespace ripcord {

inline bool is_release_folder(std::string_view name) {
  constexpr std::size_t kDigits = 12;
  return name.size() > kDigits + 1 && name[name.size() - kDigits - 1] == '-' && name.find('/') == name.npos &&
         name.substr(name.size() - kDigits).find_first_not_of("0123456789abcdef") == name.npos;
}

}  // namespace ripcord
