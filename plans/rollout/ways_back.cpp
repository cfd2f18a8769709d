#include "plans/rollout/ways_back.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace ripcord {
namespace {

// --unproven: by name, and never on a protected fleet.
void waive(Preflight& out, const Fleet& fleet, const std::string& unit, const std::vector<std::string>& names_given) {
  auto find = [&](std::string what, bool blocks) { out.findings.push_back({"", std::move(what), blocks}); };
  if (!names_given.empty() && fleet.is_protected)
    find(fmt::format("--unproven is refused: fleet '{}' is protected, and a way back that nobody walked is not waived there", fleet.name), true);
  for (const auto& name : names_given) {
    auto way = std::find_if(out.ways_back.begin(), out.ways_back.end(),
                            [&](const WayBack& w) { return w.from.version == name || unit + "@" + w.from.version == name; });
    if (way == out.ways_back.end()) {
      std::vector<std::string> names;
      for (const auto& w : out.ways_back) names.push_back(w.from.version);
      find(fmt::format("--unproven '{}' names no release that is replaced here ({})", escape_terminal(name),
                       names.empty() ? "none is" : "replaced: " + join(names, ", ")), true);
      continue;
    }
    way->waived = true;
    out.spec.unproven.push_back(way->from.version);
    find(fmt::format("the way back to {}@{} is UNPROVEN: nobody walks it before {} hosts make it", unit, way->from.version, way->hosts), false);
  }
}

}  // namespace

void judge_ways_back(Preflight& out, const Fleet& fleet, const Plan& plan, const ReleaseOnHand& release, const PreflightOptions& options, WallTime now) {
  for (const auto& h : out.spec.hosts)
    if (!h.from && !h.unchanged && !h.away) out.no_way_back.push_back(h.name);
  if (!out.spec.no_return.empty()) return;  // there is none
  for (const auto& h : out.spec.hosts) {
    if (h.unchanged || !h.from || h.from->manifest == release.digest) continue;
    auto way = std::find_if(out.ways_back.begin(), out.ways_back.end(), [&](const WayBack& w) { return w.from.manifest == h.from->manifest; });
    if (way == out.ways_back.end()) way = out.ways_back.insert(way, WayBack{*h.from, 0, h.name, std::nullopt, false});
    ++way->hosts;
  }
  for (auto& way : out.ways_back)
    for (const auto& p : options.proofs)
      if (p.from == way.from.manifest && p.to == release.digest && p.holds(now, plan.proof_expires)) {
        way.proof = p;
        out.spec.proofs.push_back(p);
      }
  waive(out, fleet, release.manifest.spec.unit, options.unproven);
}

}  // namespace ripcord
