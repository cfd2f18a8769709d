#include "plans/drift/drift_scan.hpp"

#include <set>

namespace ripcord {
namespace {

ScanRequest request_for(const Host& host, const Intents& intents, const std::vector<std::string>& units, const ScanManners& manners) {
  ScanRequest r{.full = manners.full, .low_priority = manners.low_priority, .max_rate = manners.max_rate, .threads = manners.threads};
  std::set<std::string> roots{UnitRef{}.root};
  for (const auto& unit : units) {
    auto by_host = intents.find(unit);
    if (by_host == intents.end()) continue;
    auto found = by_host->second.find(host.name);
    if (found == by_host->second.end()) continue;
    r.units.push_back({unit, found->second.root});
    roots.insert(found->second.root);
  }
  r.roots.assign(roots.begin(), roots.end());
  return r;
}

void missed(HostScan& out, LinkFault kind, std::string name, const Error& e) {
  out.fault_kind = kind;
  out.fault_name = std::move(name);
  out.fault = e.message();
  out.hint = e.hint();
}

Task<> scan_one(Clock& clock, HostPorts& ports, HostScan& out, ScanRequest wanted, Millis within, Slots& slots) {
  auto slot = co_await slots.acquire();
  auto& port = ports.port(out.host->name);
  auto asked = wanted.units;
  json::object request = to_json(wanted);
  request["do"] = "scan";
  try {
    json::object reply = co_await port.ask(std::move(request), within);
    auto report = scan_report_from_json(reply);
    bool answered = report.units.size() == asked.size();
    for (std::size_t i = 0; answered && i < asked.size(); ++i) answered = report.units[i].unit == asked[i].unit;
    if (!answered) throw Error("the host answered about other units than it was asked about");
    out.clock_skew = Millis(report.wall_ms - clock.wall().ms);
    out.report = std::move(report);
  } catch (const LinkError& e) {
    missed(out, e.fault(), e.name(), e);
  } catch (const HostRefusal& e) {
    missed(out, LinkFault::host, e.code(), e);
  } catch (const Error& e) {
    missed(out, LinkFault::host, "protocol", e);
  }
  port.hang_up();
}

}  // namespace

Task<std::vector<HostScan>> scan_hosts(Loop& loop, Clock& clock, HostPorts& ports, std::vector<const Host*> hosts, Intents intents,
                                       std::vector<std::string> units, ScanManners manners) {
  std::vector<HostScan> scans(hosts.size());
  Slots slots(manners.width);
  TaskGroup group(loop);
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    scans[i].host = hosts[i];
    group.spawn(scan_one(clock, ports, scans[i], request_for(*hosts[i], intents, units, manners), manners.within, slots));
  }
  co_await group.join();
  co_return scans;
}

}  // namespace ripcord
