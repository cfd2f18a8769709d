#include <set>

#include "plans/files/plan.hpp"

namespace ripcord {

Plan default_ladder(const Fleet& fleet, const std::vector<const Host*>& hosts) {
  using Kind = Selection::Kind;
  std::set<std::string> datacenters;
  for (const auto* host : hosts) datacenters.insert(host->datacenter);
  bool local = fleet.link == Fleet::LinkKind::local;
  auto hours = [](int h) { return Millis(h * 3600000LL); };
  // On a laptop a person waits; on a fleet a day's load has to pass over the canary.
  const Millis bakes[] = {local ? Millis(2000) : hours(24), local ? Millis(2000) : hours(4), local ? Millis(2000) : hours(2),
                          local ? Millis(1000) : Millis(0)};
  auto stage = [](std::string name, Kind kind, Amount amount, Millis bake) {
    StagePlan s;
    s.name = std::move(name);
    s.hosts.kind = kind;
    s.hosts.amount = amount;
    s.bake = bake;
    return s;
  };

  Plan plan;
  plan.stages.push_back(stage("canary", Kind::count, {1, false}, bakes[0]));
  if (datacenters.size() > 1) {
    plan.stages.push_back(stage("one-per-datacenter", Kind::per_label, {1, false}, bakes[1]));
    plan.stages.push_back(stage("one-datacenter", Kind::datacenters, {1, false}, bakes[2]));
  } else {
    plan.stages.push_back(stage("10-percent", Kind::count, {10, true}, bakes[1]));
    plan.stages.push_back(stage("50-percent", Kind::count, {50, true}, bakes[2]));
  }
  plan.stages.push_back(stage("global", Kind::rest, {1, false}, bakes[3]));
  if (!local) plan.window = working_hours(local_timezone());

  auto assigned = assign_stages(plan, hosts);
  for (auto i = plan.stages.size(); i-- > 0;)
    if (assigned[i].empty()) plan.stages.erase(plan.stages.begin() + static_cast<std::ptrdiff_t>(i));
  return plan;
}

}  // namespace ripcord
