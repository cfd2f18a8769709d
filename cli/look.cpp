#include "cli/look.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cli/limit.hpp"
#include "plans/hosts/release_on_hand.hpp"

namespace ripcord::cli {

std::vector<const Host*> limited(Context& c, const std::optional<std::string>& limit) {
  auto hosts = c.fleet().select(parse_limit(c.fleet(), limit.value_or("all")));
  if (hosts.empty())
    throw Error(fmt::format("--limit '{}' matches no host of fleet '{}'", escape_terminal(limit.value_or("all")), c.fleet().name),
                no_match_hint(c.fleet(), limit.value_or("all")), Exit::refused);
  return hosts;
}

UnitRef unit_ref(Context& c, const std::string& unit) {
  UnitRef ref{unit.empty() ? "none" : unit};
  if (!unit.empty())
    if (auto versions = c.store().versions(unit); !versions.empty())
      ref.root = load_release(c.store(), versions.back().second).manifest.spec.root;
  return ref;
}

std::vector<HostLook> look_for_unit(Context& c, std::vector<const Host*> hosts, const std::string& unit, Verify verify, bool process) {
  return look_aloud(c, std::move(hosts), unit_ref(c, unit), verify, process);
}

bool knows_unit(Context& c, const std::string& unit) {
  if (!c.store().versions(unit).empty()) return true;
  auto entries = c.entries();
  return std::any_of(entries.begin(), entries.end(), [&](const LedgerEntry& e) { return get_string_or(e.body, "unit", "") == unit; });
}

void refuse_unknown_unit(Context& c, const std::string& unit, const std::vector<HostLook>& looks) {
  auto may_know = [](const HostLook& l) { return !l.look || l.look->unit.journal_seq > 0 || !l.look->unit.releases.empty(); };
  if (std::any_of(looks.begin(), looks.end(), may_know) || knows_unit(c, unit)) return;
  auto units = c.store().units();
  throw Error(fmt::format("nobody knows a unit '{}': no host, not the ledger, and not the store here", escape_terminal(unit)),
              (units.empty() ? "" : "units sealed here: " + join(units, ", ") + "; ") + "nothing was changed", Exit::refused);
}

Table::Cell running_cell(const Observation& seen) {
  switch (seen.current) {
    case Observation::Current::none: return {"-", Tone::dim};
    case Observation::Current::folder: return {"a folder, not a link", Tone::bad};
    case Observation::Current::foreign_link: return {"a link to " + seen.link_target, Tone::warn};
    case Observation::Current::broken: return {"a link to nothing", Tone::bad};
    case Observation::Current::release: break;
  }
  if (!seen.running) return {"?", Tone::warn};
  auto version = seen.running->version;
  if (seen.tree_state == "damaged") return {version + " (damaged)", Tone::bad};
  if (seen.last_op) {
    auto phase = seen.last_op->phase;
    if (phase == OpPhase::intent || phase == OpPhase::activated) return {version + " (not confirmed)", Tone::active};
    if (phase == OpPhase::reverting) return {version + " (going back)", Tone::warn};
    if (phase == OpPhase::needs_operator) return {version + " (needs a person)", Tone::bad};
  }
  return {version, Tone::good};
}

json::object look_json(const HostLook& l) {
  json::object o{{"host", l.host->name}, {"datacenter", l.host->datacenter}, {"reachable", l.look.has_value()}};
  if (!l.look) {
    o["error"] = json::object{{"name", l.fault_name}, {"what", l.fault}, {"hint", l.hint}};
    return o;
  }
  const auto& h = l.look->hello;
  o["arch"] = h.arch;
  o["user"] = h.user;
  o["deadman"] = h.deadman;
  o["trust"] = h.trust;
  o["program"] = h.program;
  o["halted"] = h.halted ? json::value(to_json(*h.halted)) : json::value(nullptr);
  return o;
}

}  // namespace ripcord::cli
