#include "plans/drift/drift_debt.hpp"

#include <algorithm>
#include <map>
#include <tuple>

namespace ripcord {
namespace {

const UnitScan* unit_of(const HostScan& scan, const std::string& unit) {
  if (!scan.report) return nullptr;
  for (const auto& u : scan.report->units)
    if (u.unit == unit) return &u;
  return nullptr;
}

bool runs(const UnitScan* u, const Digest& manifest) { return u && u->intended && u->intended->manifest == manifest && u->running == u->intended; }

bool said_already(const std::vector<DriftItem>& items, const Debt& d) {
  return std::any_of(items.begin(), items.end(), [&](const DriftItem& i) {
    return i.host == d.host && i.unit == d.unit && (i.cause == DriftCause::away || i.cause == DriftCause::pending);
  });
}

void add_owed(std::vector<DriftItem>& items, const HostScan& scan, const DebtBook& book, const std::vector<std::string>& units) {
  for (const auto& d : book.of_host(scan.host->name)) {
    bool asked = std::find(units.begin(), units.end(), d.unit) != units.end();
    if (!asked || d.kind == Debt::Kind::left_out || runs(unit_of(scan, d.unit), d.manifest) || said_already(items, d)) continue;
    DriftItem item;
    item.host = d.host, item.unit = d.unit;
    item.finding = {"owed", "", d.unit + (d.version.empty() ? "" : "@" + d.version), "", 0, 0};
    item.cause = DriftCause::away;
    item.why = d.why;
    item.expected = d.version.empty() ? "nothing" : d.version;
    items.push_back(std::move(item));
  }
}

// Nobody changed anything on it: there is nothing on it.
void note_empty(DriftItem& item, const HostScan& scan) {
  const auto* u = unit_of(scan, item.unit);
  if (item.cause != DriftCause::unaudited || item.finding.kind != "wrong_release" || !u || u->last_op || u->current != Observation::Current::none) return;
  item.cause = DriftCause::away;
  item.why = "it was installed again: its journal knows of nothing";
}

}  // namespace

void apply_debts(std::vector<DriftItem>& items, std::vector<HostScan>& scans, const DebtBook& book, const std::vector<std::string>& units) {
  std::map<std::string, std::size_t> place;
  for (std::size_t i = 0; i < scans.size(); ++i) place[scans[i].host->name] = i;
  for (auto& item : items) note_empty(item, scans[place.at(item.host)]);
  for (auto& scan : scans) {
    auto apart = book.quarantines.find(scan.host->name);
    if (apart != book.quarantines.end()) scan.apart = apart->second.text();
    else if (scan.report) add_owed(items, scan, book, units);
  }
  for (auto& item : items)
    if (const auto& scan = scans[place.at(item.host)]; !scan.apart.empty()) item.cause = DriftCause::known, item.why = scan.apart;
  std::stable_sort(items.begin(), items.end(), [&](const DriftItem& a, const DriftItem& b) {
    return std::make_tuple(place.at(a.host), std::cref(a.unit)) < std::make_tuple(place.at(b.host), std::cref(b.unit));
  });
}

}  // namespace ripcord
