#include <fmt/format.h>

#include <algorithm>

#include "plans/files/contract.hpp"

namespace ripcord {
namespace {

bool has(const std::vector<std::string>& list, const std::string& word) { return std::find(list.begin(), list.end(), word) != list.end(); }

void check_formats(const ContractView& view, const UnitSpec& coming, std::vector<ContractFinding>& out, std::vector<std::string>& no_return) {
  Party party{coming.unit, coming.version, coming.formats};
  std::vector<std::string> closing;
  for (const auto& breach : breaches(party, view.replaced, view.others)) {
    auto point = to_text(FormatVersion{breach.format, breach.version});
    if (breach.closes_way_back) closing.push_back(point);
    if (breach.closes_way_back && has(view.point_of_no_return, point)) {
      if (!has(no_return, point)) no_return.push_back(point);
      out.push_back({fmt::format("POINT OF NO RETURN {}: {}; no dead-man switch is armed, nothing is rehearsed, and nothing goes back by itself",
                                 point, breach.what), false});
    } else {
      out.push_back({breach.what + "; " + breach.hint, true});
    }
  }
  for (const auto& point : view.point_of_no_return)
    if (!has(closing, point))
      out.push_back({fmt::format("--point-of-no-return '{}' names nothing that this rollout would pass ({})", escape_terminal(point),
                                 closing.empty() ? "every release that is replaced reads what this one writes" : "it passes " + join(closing, ", ")),
                     true});
  if (!coming.formats.empty())
    for (const auto& name : view.unknown)
      out.push_back({fmt::format("the formats of {}, which runs in this fleet, are not known: neither the store nor a host has its manifest; bring its "
                                 "release file here with `ripcord plan FILE`", name), false});
}

void check_versions(const ContractView& view, const UnitSpec& coming, const std::map<std::string, std::size_t>& running,
                    std::vector<ContractFinding>& out) {
  std::vector<std::string> words, names;
  for (const auto& [version, hosts] : running)
    if (version != coming.version) {
      words.push_back(fmt::format("{} on {}", version, hosts));
      names.push_back(version);
    }
  for (const auto& name : view.also_live)
    if (!has(names, name)) out.push_back({fmt::format("--also-live '{}' names no version that runs here", escape_terminal(name)), true});
  auto counted = static_cast<std::size_t>(std::count_if(names.begin(), names.end(), [&](const auto& n) { return !has(view.also_live, n); }));
  if (names.size() < 2 || counted < 2) return;
  out.push_back({fmt::format("{} would be the {} live version: hosts run {}, and at most two may live in a fleet at once; bring them to one first "
                             "(`ripcord apply {}@{}`), or name the one that may stay meanwhile: --also-live {} -m WHY",
                             coming.version, names.size() == 2 ? "third" : fmt::format("{}th", names.size() + 1), join(words, ", "), coming.unit,
                             names.back(), names.front()),
                 true});
}

void check_requires(const ContractView& view, const UnitSpec& coming, std::vector<ContractFinding>& out) {
  for (const auto& [unit, version] : coming.requires_units) {
    auto live = view.live.find(unit);
    std::vector<std::string> words;
    if (live != view.live.end())
      for (const auto& [other, hosts] : live->second) words.push_back(fmt::format("{} on {}", other, hosts.size()));
    bool met = live != view.live.end() && live->second.size() == 1 && live->second.contains(version);
    if (!met)
      out.push_back({fmt::format("{}@{} requires {}@{}, and by the ledger this fleet runs {}; roll that out first: `ripcord apply {}@{}`", coming.unit,
                                 coming.version, unit, version, words.empty() ? "none of it" : join(words, ", "), unit, version),
                     true});
  }
}

}  // namespace

std::vector<ContractFinding> check_contract(const ContractView& view, const UnitSpec& coming,
                                            const std::map<std::string, std::size_t>& running, std::vector<std::string>& no_return) {
  std::vector<ContractFinding> out;
  check_formats(view, coming, out, no_return);
  check_versions(view, coming, running, out);
  check_requires(view, coming, out);
  return out;
}

}  // namespace ripcord
