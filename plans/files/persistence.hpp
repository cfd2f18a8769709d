// k of n: in a large fleet something is always not quite right, so what alerts is what persists.
#pragma once
#include <string>
#include <string_view>

namespace ripcord {

struct Persistence {  // there in k of the last n scans of the host
  int k = 1, n = 1;
  static Persistence parse(std::string_view text);  // "2 of 3", "2/3"; Error(Exit::usage) otherwise
  std::string text() const;
};

}  // namespace ripcord
