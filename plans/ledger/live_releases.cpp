#include "plans/ledger/live_releases.hpp"

#include <fmt/format.h>

#include "plans/hosts/release_on_hand.hpp"
#include "plans/ledger/rollout_spec.hpp"

namespace ripcord {
namespace {

struct Planned {
  std::string unit;
  std::map<std::string, std::pair<std::string, std::string>> hosts;  // versions: before, after
};

std::string version_of_folder(const std::string& folder) {  // "1.1-0123456789ab"; "nothing"
  return folder == "nothing" ? "" : folder.substr(0, folder.rfind('-'));
}

}  // namespace

LiveVersions live_versions(const std::vector<LedgerEntry>& entries) {
  std::map<std::string, Planned> rollouts;
  std::map<std::string, std::map<std::string, std::string>> runs;  // unit -> host -> version
  for (const auto& e : entries) {
    const auto& b = e.body;
    const auto kind = get_string_or(b, "kind", ""), host = get_string_or(b, "host", ""), unit = get_string_or(b, "unit", "");
    if (kind == "drill.started") {  // begins where it ends
      auto spec = rollout_spec_from_json(get_object(b, "spec"));
      for (const auto& h : spec.hosts) rollouts[spec.id].hosts[h.name] = {h.from ? h.from->version : "", h.to.version};
      rollouts[spec.id].unit = spec.unit;
    } else if (kind == "rollout.started") {
      auto spec = rollout_spec_from_json(get_object(b, "spec"));
      auto& planned = rollouts[spec.id];
      planned.unit = spec.unit;
      for (const auto& h : spec.hosts) {
        planned.hosts[h.name] = {h.from ? h.from->version : "", h.to.version};
        runs[spec.unit][h.name] = h.unchanged ? h.to.version : h.from ? h.from->version : "";
      }
    } else if (kind == "host.confirmed" || kind == "host.returned") {
      auto rollout = rollouts.find(get_string_or(b, "rollout", ""));
      if (rollout == rollouts.end()) continue;
      auto found = rollout->second.hosts.find(host);
      if (found != rollout->second.hosts.end())
        runs[rollout->second.unit][host] = kind == "host.confirmed" ? found->second.second : found->second.first;
    } else if (kind == "rollback.host") {
      // A host that did not answer runs what it ran, as far as anybody knows.
      if (auto after = get_string_or(b, "after", "nothing"); after != "unknown") runs[unit][host] = version_of_folder(after);
    }
  }
  LiveVersions live;
  for (const auto& [unit, hosts] : runs)
    for (const auto& [host, version] : hosts)
      if (!version.empty()) live[unit][version].insert(host);
  return live;
}

std::vector<Party> live_parties(const LiveVersions& live, const ReleaseStore& store, const std::string& but, std::vector<std::string>& unknown) {
  std::vector<Party> out;
  for (const auto& [unit, versions] : live) {
    if (unit == but) continue;
    for (const auto& [version, hosts] : versions) {
      try {
        auto digest = store.find(unit, version);
        if (!digest) throw Error("it is not in the store");
        out.push_back({unit, version, load_release(store, *digest).manifest.spec.formats});
      } catch (const Error&) {
        unknown.push_back(unit + "@" + version);
      }
    }
  }
  return out;
}

Task<std::optional<Manifest>> find_manifest(HostPorts& ports, const ReleaseStore& store, std::vector<std::string> hosts, UnitRef unit, Digest digest) {
  constexpr std::size_t kAsked = 3;
  std::optional<Manifest> manifest;
  try {
    manifest = load_release(store, digest).manifest;
  } catch (const Error&) {  // sealed elsewhere: its hosts have it
  }
  for (std::size_t i = 0; !manifest && i < std::min(kAsked, hosts.size()); ++i) {
    json::object request{{"do", "fetch_manifest"}, {"unit", unit.unit}, {"root", unit.root}, {"manifest", digest.hex()}};
    try {
      json::object reply = co_await ports.port(hosts[i]).ask(std::move(request), Millis(30000));
      auto bytes = get_string(reply, "manifest");
      if (sha256(bytes) == digest) manifest = Manifest::decode(bytes);
    } catch (const Error&) {  // the next host, or nobody
    }
  }
  co_return manifest;
}

Task<std::vector<Party>> replaced_parties(HostPorts& ports, const ReleaseStore& store, const std::vector<HostLook>& looks, UnitRef unit,
                                          Digest coming, std::vector<std::string>& unknown) {
  std::map<Digest, std::pair<std::string, std::vector<std::string>>> running;  // manifest -> version, hosts
  for (const auto& l : looks)
    if (l.look && l.look->unit.running && l.look->unit.running->manifest != coming) {
      auto& [version, hosts] = running[l.look->unit.running->manifest];
      version = l.look->unit.running->version;
      hosts.push_back(l.host->name);
    }
  std::vector<Party> out;
  for (const auto& [digest, one] : running) {
    std::vector<std::string> hosts = one.second;
    auto manifest = co_await find_manifest(ports, store, std::move(hosts), unit, digest);
    if (manifest) out.push_back({unit.unit, one.first, manifest->spec.formats});
    else unknown.push_back(unit.unit + "@" + one.first);
  }
  co_return out;
}

std::optional<std::string> not_completed(const std::vector<LedgerEntry>& entries, const std::string& fleet, const std::string& unit,
                                         const Digest& manifest, Millis at_least, WallTime now) {
  std::map<std::string, bool> ours;  // rollouts of the unit: of this manifest?
  std::set<std::string> aside;       // convergences and repairs: they pay what others owe
  std::set<std::string> owed;        // by the one that completed: it is not done before they are paid or excused
  std::optional<WallTime> since;
  Millis longest{-1};
  std::string version;
  auto ended = [&](WallTime at) {
    if (since) longest = std::max(longest, at - *since);
    since.reset();
  };
  for (const auto& e : entries) {
    const auto& b = e.body;
    const auto kind = get_string_or(b, "kind", "");
    const bool excuses = kind == "quarantine.set" || kind == "hosts.retired" || kind == "hosts.replaced";
    if (excuses && get_string_or(b, "fleet", "") == fleet && owed.erase(get_string(b, "host")) > 0 && owed.empty() && !since) since = parse_utc(get_string(b, "time"));
    if (get_string_or(b, "unit", "") != unit) continue;
    const auto at = parse_utc(get_string(b, "time"));
    const auto id = get_string_or(b, "rollout", "");
    if (kind == "rollout.started") {
      ours[id] = get_string_or(get_object(b, "spec"), "manifest", "") == manifest.hex();
      if (!get_string_or(b, "purpose", "").empty()) aside.insert(id);
      if (!ours[id]) ended(at), owed.clear();
    } else if (kind == "host.confirmed" && ours[id]) {
      if (owed.erase(get_string(b, "host")) > 0 && owed.empty() && !since) since = at;
    } else if (kind == "rollback.started") {
      ended(at), owed.clear();
    } else if (kind == "rollout.ended" && ours[id] && !aside.contains(id)) {
      auto left = get_strings_or_empty(b, "owed");
      if (get_string_or(b, "outcome", "") != "completed") ended(at), owed.clear();
      else if (!left.empty()) owed = {left.begin(), left.end()};
      else if (!since) since = at;
    }
  }
  ended(now);
  if (longest >= at_least) return std::nullopt;
  if (longest.count() < 0 && !owed.empty())
    return fmt::format("this very release of {} was rolled out on fleet '{}', and {} of its hosts are still owed it, {} among them", unit, fleet, owed.size(), *owed.begin());
  if (longest.count() < 0) return fmt::format("this very release of {} was not completed on fleet '{}' yet", unit, fleet);
  return fmt::format("this very release of {} ran on fleet '{}' for {}, and {} are asked for", unit, fleet, format_duration(longest), format_duration(at_least));
}

}  // namespace ripcord
