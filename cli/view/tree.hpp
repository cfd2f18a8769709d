// The tree of a rollout: its verdict, its stages, their hosts. Hosts are collapsed to runs of names, then to counts, when more
// than fit; hosts in trouble stay the longest.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "cli/view/words.hpp"

namespace ripcord::cli {

struct TreeOptions {
  std::size_t width = 0;      // 0: as wide as it is
  std::size_t max_lines = 0;  // 0: any number; then stages of more than 16 hosts are collapsed to runs of names
  Style style;
  std::map<std::string, std::string> steps;  // host -> what it is doing right now
};

std::vector<std::string> tree_lines(const RolloutState& state, WallTime now, const TreeOptions& options);

}  // namespace ripcord::cli
