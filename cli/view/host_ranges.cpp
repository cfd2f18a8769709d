#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "cli/view/words.hpp"

namespace ripcord::cli {

std::string compress_hosts(const std::vector<std::string>& names) {
  struct Run {
    std::string prefix, suffix;
    std::size_t width;
    std::vector<std::uint64_t> numbers;
  };
  std::vector<Run> runs;
  std::map<std::tuple<std::string, std::string, std::size_t>, std::size_t> known;
  for (const auto& name : names) {
    auto last = name.find_last_of("0123456789");
    if (last == std::string::npos) {
      runs.push_back({name, "", 0, {}});
      continue;
    }
    auto before = name.find_last_not_of("0123456789", last);
    auto first = before == std::string::npos ? 0 : before + 1;
    auto digits = name.substr(first, last - first + 1);
    if (digits.size() > 9) {
      runs.push_back({name, "", 0, {}});
      continue;
    }
    auto width = digits.size();  // "web-9" and "web-10" are two runs: a range has one width
    auto key = std::make_tuple(name.substr(0, first), name.substr(last + 1), width);
    auto [at, fresh] = known.try_emplace(key, runs.size());
    if (fresh) runs.push_back({std::get<0>(key), std::get<1>(key), width, {}});
    runs[at->second].numbers.push_back(std::stoull(digits));
  }
  std::vector<std::string> parts;
  for (auto& run : runs) {
    if (run.width == 0) {
      parts.push_back(run.prefix);
      continue;
    }
    std::sort(run.numbers.begin(), run.numbers.end());
    run.numbers.erase(std::unique(run.numbers.begin(), run.numbers.end()), run.numbers.end());
    for (std::size_t i = 0; i < run.numbers.size();) {
      std::size_t j = i;
      while (j + 1 < run.numbers.size() && run.numbers[j + 1] == run.numbers[j] + 1) ++j;
      if (i == j) parts.push_back(fmt::format("{}{:0{}}{}", run.prefix, run.numbers[i], run.width, run.suffix));
      else
        parts.push_back(fmt::format("{}[{:0{}}:{:0{}}]{}", run.prefix, run.numbers[i], run.width, run.numbers[j], run.width, run.suffix));
      i = j + 1;
    }
  }
  return join(parts, ", ");
}

}  // namespace ripcord::cli
