// `ripcord drift repair`: the way of every rollout (staged, verified, armed, health-checked, confirmed), limited to hosts that drifted,
// onto the release that the ledger says they should run.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "cli/drift.hpp"
#include "cli/rollout_run.hpp"
#include "cli/set_aside.hpp"
#include "cli/target.hpp"
#include "cli/view/words.hpp"
#include "plans/hosts/lost_state.hpp"
#include "plans/rollout/repair.hpp"

namespace ripcord::cli {
namespace {

struct Repair {  // of one unit and release
  std::string unit;
  Intent intent;
  std::vector<const DriftItem*> items;
  std::set<std::string> hosts, activate;  // activate: those of them that need more than whole files
};

bool is_of_files(const DriftFinding& f) {
  static const std::set<std::string> kinds{"changed", "mode", "owner", "missing", "extra", "link", "type", "xattr", "unreadable", "record"};
  return kinds.contains(f.kind) && !f.path.starts_with('/');
}

bool is_wanted(const DriftItem& item, const std::vector<std::string>& which) {
  if (!item.counts() || item.unit.empty() || item.finding.kind == "foreign_unit" || item.finding.kind == "owed") return false;
  return which.empty() || std::any_of(which.begin(), which.end(), [&](const std::string& w) { return w == item.id() || w == item.host; });
}

// What only a person can put right keeps the host out.
std::set<std::string> beyond_repair(Context& c, const DriftScan& scan, const Intents& intents) {
  std::set<std::string> hosts;
  for (const auto& s : scan.hosts)
    for (const auto& u : s.report ? s.report->units : std::vector<UnitScan>()) {
      auto by_host = intents.find(u.unit);
      auto intent = by_host == intents.end() ? std::map<std::string, Intent>::const_iterator{} : by_host->second.find(s.host->name);
      if (by_host == intents.end() || intent == by_host->second.end()) continue;
      auto lost = lost_state(u.current, u.link_target, u.last_op.has_value(), {u.unit, intent->second.root}, s.host->name);
      if (lost.empty()) continue;
      c.out().warn(fmt::format("{} is left alone: {}", s.host->name, lost));
      hosts.insert(s.host->name);
    }
  for (const auto& i : scan.items)
    if (i.finding.kind == "journal" && i.counts()) {
      c.out().warn(fmt::format("{}: the journal of {} must be put right by hand first: {}", i.host, i.unit, i.finding.detail));
      hosts.insert(i.host);
    }
  return hosts;
}

std::vector<Repair> repairs_of(Context& c, const DriftScan& scan, const std::vector<std::string>& which) {
  auto intents = fold_intents(c.entries());
  auto beyond = beyond_repair(c, scan, intents);
  std::vector<Repair> out;
  for (const auto& item : scan.items) {
    if (!is_wanted(item, which) || beyond.contains(item.host)) continue;
    const auto& intent = intents.at(item.unit).at(item.host);
    if (intent.manifest.is_zero()) {
      c.out().warn(fmt::format("{}: the ledger knows no release that {} should be there", item.host, item.unit));
      continue;
    }
    auto found = std::find_if(out.begin(), out.end(), [&](const Repair& r) { return r.unit == item.unit && r.intent.manifest == intent.manifest; });
    if (found == out.end()) found = out.insert(out.end(), {item.unit, intent, {}, {}, {}});
    found->items.push_back(&item);
    found->hosts.insert(item.host);
    if (item.finding.kind != "way_back") found->activate.insert(item.host);  // also whole files: who knows what the process has read
  }
  return out;
}

std::vector<DamagedRelease> damaged_in(const DriftScan& scan, const Repair& repair) {
  std::set<std::pair<std::string, bool>> seen;
  std::vector<DamagedRelease> out;
  for (const auto* item : repair.items) {
    bool back = item->finding.kind == "way_back";
    if ((!back && !is_of_files(item->finding)) || !seen.emplace(item->host, back).second) continue;
    for (const auto& s : scan.hosts) {
      if (s.host->name != item->host || !s.report) continue;
      for (const auto& u : s.report->units) {
        const auto& release = back ? u.way_back : u.intended;
        if (u.unit == repair.unit && release) out.push_back({item->host, {repair.unit, repair.intent.root}, *release});
      }
    }
  }
  return out;
}

Exit carry_out(Context& c, const DriftScan& scan, Repair& repair, const std::string& why) {
  auto failed = set_aside(c, damaged_in(scan, repair));
  Exit exit = failed.empty() ? Exit::done : Exit::mixed;
  for (const auto& host : failed) repair.activate.erase(host);
  json::array findings;
  for (const auto* item : repair.items) findings.push_back(to_json(*item));
  json::object entry{{"kind", "drift.repair"}, {"unit", repair.unit}, {"hosts", to_json_array({repair.hosts.begin(), repair.hosts.end()})},
                     {"findings", std::move(findings)}, {"why", why}};
  if (repair.activate.empty()) {
    c.append({std::move(entry)});
    return exit;
  }
  PlanOptions options;
  options.limit = fmt::format("host in ({})", join({repair.activate.begin(), repair.activate.end()}, ", "));
  options.message = why;
  options.hotfix = options.outside_window = true;  // a repair brings nothing new
  auto prepared = prepare(c, c.store(), repair.intent.manifest, options);
  report_findings(c, prepared.preflight);
  auto spec = prepared.preflight.spec;
  make_repair(spec, prepared.looks);
  entry["rollout"] = spec.id;
  c.append({std::move(entry)});
  return worst(exit, start_rollout(c, prepared.release, std::move(spec), prepared.preflight.highest_epoch, {}));
}

}  // namespace

Exit repair_drift(Context& c, const DriftOptions& options, const std::vector<std::string>& which, const Confirmation& given, const std::string& why) {
  DriftLock lock(c);
  auto scan = scan_for_drift(c, options);
  auto repairs = repairs_of(c, scan, which);
  if (repairs.empty()) {
    if (!which.empty() && scan.exit == Exit::drift)
      throw Error(fmt::format("nothing that can be repaired is called {}", escape_terminal(join(which, ", "))),
                  fmt::format("`{}` prints findings with their ids", c.command("drift")), Exit::refused);
    report_drift(c, scan, options);
    if (scan.exit == Exit::done) c.out().note("nothing to repair: every host is what the ledger says");
    return scan.exit;
  }
  std::vector<std::string> words;
  std::set<std::string> names;
  for (const auto& r : repairs) {
    refuse_open_rollouts(c, r.unit, hosts_of_unit(c, load_release(c.store(), r.intent.manifest).manifest.spec));
    words.push_back(fmt::format("{} of {}@{} on {}", count_of(r.items.size(), "finding"), r.unit, r.intent.version(), compress_hosts({r.hosts.begin(), r.hosts.end()})));
    names.insert(r.hosts.begin(), r.hosts.end());
  }
  if (c.out().text()) report_drift(c, scan, options);
  confirm(c, given, "repair " + join(words, "; ") + "?", true);
  Exit exit = Exit::done;
  for (auto& r : repairs) exit = worst(exit, carry_out(c, scan, r, why));
  // Read back, never inferred.
  DriftOptions again = options;
  again.limit = fmt::format("host in ({})", join({names.begin(), names.end()}, ", "));
  auto after = scan_for_drift(c, again);
  report_drift(c, after, again);
  return worst(exit, after.exit);
}

}  // namespace ripcord::cli
