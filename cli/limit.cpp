#include "cli/limit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/base/text.hpp"

namespace ripcord::cli {
namespace {

constexpr const char* kForms = "one name, several (web-1,web-2), or labels: role=web, 'role in (web, api)', 'web-*', joined by ',' (and) and '|' (or)";

// Words that stand for themselves: no label with a value, no list in parentheses, no glob.
std::vector<std::string> bare_words(const std::string& text) {
  std::vector<std::string> out;
  std::string word;
  int inside = 0;
  auto end = [&] {
    auto bare = std::string(trim(word));
    if (!bare.empty() && bare.find_first_of("=!()*? ") == std::string::npos) out.push_back(bare);
    word.clear();
  };
  for (char c : text) {
    inside += (c == '(') - (c == ')');
    if (inside == 0 && (c == ',' || c == '|')) end();
    else word += c;
  }
  end();
  return out;
}

}  // namespace

std::vector<std::string> listed_hosts(const Fleet& fleet, const std::string& text) {
  std::vector<std::string> names;
  for (const auto& word : split(text, ',')) {
    names.emplace_back(trim(word));
    if (!fleet.find(names.back())) return {};
  }
  return names;
}

Selector parse_limit(const Fleet& fleet, const std::string& text) {
  auto names = listed_hosts(fleet, text);
  return Selector::parse(names.size() > 1 ? fmt::format("host in ({})", join(names, ", ")) : text);
}

std::string no_match_hint(const Fleet& fleet, const std::string& text) {
  std::set<std::string> labels;
  std::vector<std::string> known;
  for (const auto& host : fleet.hosts) {
    known.push_back(host.name);
    for (const auto& [label, value] : host.labels) labels.insert(label);
  }
  known.insert(known.end(), labels.begin(), labels.end());
  for (const auto& word : bare_words(text)) {
    if (word == "all" || fleet.find(word) || labels.contains(word)) continue;
    auto near = did_you_mean(word, known);
    return fmt::format("no host and no label is called '{}'{}; write {}", escape_terminal(word), near ? fmt::format(", did you mean '{}'?", *near) : "", kForms);
  }
  return fmt::format("write {}; `ripcord hosts` names the hosts, `ripcord show HOST` their labels", kForms);
}

}  // namespace ripcord::cli
