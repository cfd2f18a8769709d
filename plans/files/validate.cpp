#include "plans/files/validate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

namespace ripcord {
namespace {

using Hosts = std::vector<const Host*>;

std::string named(const Hosts& hosts) {
  constexpr std::size_t kNamed = 5;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < std::min(hosts.size(), kNamed); ++i) names.push_back(hosts[i]->name);
  return join(names, ", ") + (hosts.size() > kNamed ? fmt::format(" and {} more", hosts.size() - kNamed) : "");
}

bool concerns(const TemplateUse& use, const Host& host) {
  if (use.label.empty()) return true;
  auto found = host.labels.find(use.label);
  return found != host.labels.end() && found->second == use.value;
}

// arch is added by the host.
bool is_given(const std::string& variable, bool config) {
  static const std::set<std::string> kAlways{"unit", "version", "arch"}, kPlaces{"release", "current", "shared"};
  return kAlways.count(variable) || (!config && kPlaces.count(variable));
}

void check_variables(const Hosts& hosts, const std::vector<TemplateUse>& uses, std::vector<std::string>& findings) {
  for (const auto& use : uses)
    for (const auto& variable : use.variables) {
      if (is_given(variable, use.config)) continue;
      if (use.config && is_given(variable, false)) {
        findings.push_back(fmt::format("{} uses ${{{}}}, which is not known when configuration is rendered: hand it over in the service's run",
                                       use.where, variable));
        continue;
      }
      Hosts lacking;
      std::set<std::string> known;
      for (const auto* host : hosts) {
        if (!concerns(use, *host) || host->labels.count(variable)) continue;
        lacking.push_back(host);
        for (const auto& [key, value] : host->labels) known.insert(key);
      }
      if (lacking.empty()) continue;
      auto near = did_you_mean(variable, {known.begin(), known.end()});
      findings.push_back(fmt::format("{} uses ${{{}}}, a label that {} of {} hosts lack{}: {}{}", use.where, variable, lacking.size(), hosts.size(),
                                     lacking.size() == 1 ? "s" : "", named(lacking), near ? fmt::format("; did you mean ${{{}}}?", *near) : ""));
    }
}

// An overlay for a value that no host has is a file that reaches nobody, mostly a typing error.
void check_overlays(const Hosts& hosts, const std::vector<TemplateUse>& uses, std::vector<std::string>& findings) {
  std::set<std::string> said;
  for (const auto& use : uses) {
    bool reaches = std::any_of(hosts.begin(), hosts.end(), [&](const Host* h) { return concerns(use, *h); });
    if (!reaches && said.insert(use.label + "=" + use.value).second)
      findings.push_back(fmt::format("{} reaches no host: none of the unit's has {}={}", use.where, use.label, use.value));
  }
}

}  // namespace

std::vector<std::string> cross_check(const Fleet& fleet, const UnitSpec& unit, const Plan* plan, const std::vector<TemplateUse>& templates) {
  std::vector<std::string> findings;
  Hosts hosts;
  try {
    hosts = fleet.select(Selector::parse(unit.hosts));
  } catch (const Error& e) {
    return {fmt::format("unit '{}': hosts: {}", unit.unit, e.message())};
  }
  if (hosts.empty()) {
    findings.push_back(fmt::format("unit '{}': hosts: '{}' matches none of the {} hosts of fleet '{}'", unit.unit, unit.hosts, fleet.hosts.size(), fleet.name));
    return findings;
  }
  auto uses = template_uses(unit);
  uses.insert(uses.end(), templates.begin(), templates.end());
  check_variables(hosts, uses, findings);
  check_overlays(hosts, uses, findings);
  if (!plan) return findings;

  if (!plan->unit.empty() && plan->unit != unit.unit)
    findings.push_back(fmt::format("plan '{}' is for unit '{}', not for '{}'", plan->name, plan->unit, unit.unit));
  try {
    auto stages = assign_stages(*plan, hosts);
    for (std::size_t i = 0; i < stages.size(); ++i)
      if (stages[i].empty()) findings.push_back(fmt::format("plan '{}': stage '{}' takes no host of unit '{}'", plan->name, plan->stages[i].name, unit.unit));
  } catch (const Error& e) {
    findings.push_back(e.message());
  }
  return findings;
}

}  // namespace ripcord
