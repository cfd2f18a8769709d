#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "plans/files/host_label.hpp"
#include "plans/files/plan.hpp"

namespace ripcord {
namespace {

using Hosts = std::vector<const Host*>;

// By value of a label, values in the order of their first host.
std::vector<Hosts> groups(const Hosts& hosts, const std::string& label) {
  std::vector<Hosts> out;
  std::map<std::string, std::size_t> index;
  for (const auto* host : hosts) {
    auto [at, is_new] = index.emplace(label_of(*host, label), out.size());
    if (is_new) out.emplace_back();
    out[at->second].push_back(host);
  }
  return out;
}

Hosts round_robin(const std::vector<Hosts>& lists) {
  Hosts out;
  bool more = true;
  for (std::size_t i = 0; more; ++i) {
    more = false;
    for (const auto& list : lists) {
      if (i < list.size()) out.push_back(list[i]);
      more = more || i + 1 < list.size();
    }
  }
  return out;
}

// So that two hosts in a row share as little as possible: datacenters alternate, and racks within a datacenter.
Hosts alternating(const Hosts& hosts) {
  std::vector<Hosts> lists;
  for (const auto& datacenter : groups(hosts, "datacenter")) lists.push_back(round_robin(groups(datacenter, "rack")));
  return round_robin(lists);
}

Hosts matching(const Hosts& hosts, const Selection& selection) {
  Hosts out;
  std::copy_if(hosts.begin(), hosts.end(), std::back_inserter(out),
               [&](const Host* h) { return !selection.where || selection.where->matches(h->labels); });
  return out;
}

void take_first(const Hosts& from, int count, Hosts& into) {
  into.insert(into.end(), from.begin(), from.begin() + std::min<std::ptrdiff_t>(count, static_cast<std::ptrdiff_t>(from.size())));
}

// `left` in file order.
Hosts pick(const Selection& selection, const Hosts& all, const Hosts& left) {
  auto candidates = matching(left, selection), total = matching(all, selection);
  Hosts taken;
  switch (selection.kind) {
    case Selection::Kind::rest:
      taken = candidates;
      break;
    case Selection::Kind::count:
      take_first(alternating(candidates), selection.amount.of(static_cast<int>(total.size())), taken);
      break;
    case Selection::Kind::per_label: {
      std::map<std::string, int> sizes;
      for (const auto* host : total) ++sizes[label_of(*host, selection.label)];
      for (const auto& group : groups(candidates, selection.label))
        if (auto value = label_of(*group[0], selection.label); !value.empty()) take_first(alternating(group), selection.amount.of(sizes[value]), taken);
      break;
    }
    case Selection::Kind::datacenters: {
      int wanted = selection.amount.of(static_cast<int>(groups(total, "datacenter").size()));
      for (const auto& datacenter : groups(candidates, "datacenter"))
        if (wanted-- > 0) taken.insert(taken.end(), datacenter.begin(), datacenter.end());
      break;
    }
  }
  return alternating(taken);
}

}  // namespace

std::vector<std::vector<const Host*>> assign_stages(const Plan& plan, const std::vector<const Host*>& hosts) {
  std::vector<Hosts> stages;
  Hosts left = hosts;
  for (const auto& stage : plan.stages) {
    auto taken = pick(stage.hosts, hosts, left);
    std::set<const Host*> gone(taken.begin(), taken.end());
    std::erase_if(left, [&](const Host* h) { return gone.count(h) > 0; });
    stages.push_back(std::move(taken));
  }
  if (left.empty() || plan.rest_excluded) return stages;

  constexpr std::size_t kNamed = 20;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < std::min(left.size(), kNamed); ++i) names.push_back(left[i]->name);
  auto more = left.size() > kNamed ? fmt::format(" and {} more", left.size() - kNamed) : "";
  throw Error(fmt::format("no stage of plan '{}' takes {} of {} hosts: {}{}", plan.name, left.size(), hosts.size(), join(names, ", "), more),
              "end the plan with a stage `hosts: rest`, or say `rest: excluded`", Exit::invalid_file);
}

}  // namespace ripcord
