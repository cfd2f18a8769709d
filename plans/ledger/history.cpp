#include "plans/ledger/history.hpp"

#include <fmt/format.h>

#include <set>

#include "core/base/error.hpp"
#include "plans/ledger/quarantine.hpp"

namespace ripcord {
namespace {

std::string release_of(const json::object& b) {
  auto unit = get_string_or(b, "unit", ""), version = get_string_or(b, "version", "");
  return version.empty() ? unit : unit + "@" + version;
}

// One sentence for people; "" for entries that only matter in detail.
std::string sentence(const std::string& kind, const json::object& b, bool every) {
  auto host = get_string_or(b, "host", "");
  auto reason = get_string_or(b, "reason", "");
  auto tail = reason.empty() ? "" : ": " + reason;
  if (kind == "release.sealed") {
    auto by = get_string_or(b, "signed_by", "");
    return fmt::format("sealed {}{}", release_of(b), by.empty() ? ", unsigned" : ", signed by " + by);
  }
  if (kind == "rollout.started") {
    std::size_t hosts = 0;
    if (const auto* spec = find_object(b, "spec")) hosts = get_array(*spec, "hosts").size();
    std::string how = get_bool_or(b, "hotfix", false) ? ", as a hotfix" : "";
    if (get_bool_or(b, "outside_window", false)) how += ", outside the window";
    if (auto points = get_strings_or_empty(b, "no_return"); !points.empty()) how += ", PAST THE POINT OF NO RETURN " + join(points, ", ");
    if (auto unproven = get_strings_or_empty(b, "unproven"); !unproven.empty()) how += ", THE WAY BACK TO " + join(unproven, ", ") + " UNPROVEN";
    const auto purpose = get_string_or(b, "purpose", "");
    const char* what = purpose == kConverge ? "convergence" : purpose == kRepair ? "repair" : "rollout";
    return fmt::format("{} of {} to {} host{} started{}", what, release_of(b), hosts, hosts == 1 ? "" : "s", how);
  }
  if (kind == "quarantine.set")
    return fmt::format("{} quarantined until {}, owner {}: {}", host, until_text(parse_utc(get_string(b, "until"))), get_string_or(b, "owner", "?"), reason);
  if (kind == "quarantine.lifted") return fmt::format("quarantine of {} lifted", host);
  if (kind == "hosts.retired") return host + " retired";
  if (kind == "hosts.replaced") return fmt::format("{} replaced by {}", host, get_string_or(b, "by", "?"));
  if (kind == "trust.added")
    return fmt::format("host key of {} {}: {} {}", host, b.contains("replaces") ? "replaced" : "believed", get_string_or(b, "type", "?"), get_string_or(b, "fingerprint", "?"));
  if (kind == "hosts.readmitted") return host + " is expected again";
  if (kind == "drill.started") {
    std::size_t hosts = 0;
    if (const auto* spec = find_object(b, "spec")) hosts = get_array(*spec, "hosts").size();
    return fmt::format("{} drill of {} on {} host{} started{}", get_string_or(b, "drill", "?"), release_of(b), hosts, hosts == 1 ? "" : "s",
                       get_bool_or(b, "outside_window", false) ? ", outside the window" : "");
  }
  if (kind == "drill.ended") return get_string_or(b, "outcome", "") == "needs_person" ? "drill needs a person" : "drill " + get_string_or(b, "outcome", "?");
  if (kind == "drill.disproved")
    return fmt::format("the way back from {} to {} does not work on {}{}", get_string_or(b, "to_version", "?"), get_string_or(b, "from_version", "?"), host, tail);
  if (kind == "rollout.rolling_back") return "going back: " + get_string_or(b, "why", "");
  if (kind == "rollout.ended") {
    auto outcome = get_string(b, "outcome");
    std::string owed;
    if (const auto* list = find_array(b, "owed"); list && !list->empty()) owed = fmt::format(", {} host{} owed", list->size(), list->size() == 1 ? "" : "s");
    return fmt::format("rollout {}{}", outcome == "rolled_back" ? "rolled back" : outcome == "needs_person" ? "needs a person" : outcome, owed);
  }
  if (kind == "rollout.lost") return fmt::format("{} of rollout {}, which the ledger had lost: {}", release_of(b), get_string_or(b, "rollout", ""), get_string_or(b, "why", ""));
  if (kind == "fleet.halted") return fmt::format("fleet {} halted", get_string_or(b, "fleet", ""));
  if (kind == "fleet.unhalted") return fmt::format("fleet {} goes on: the halt is lifted", get_string_or(b, "fleet", ""));
  if (kind == "rollout.taken_over")
    return fmt::format("taken over from {} on {}: {}", get_string_or(b, "from_who", "?"), get_string_or(b, "from_machine", "?"), get_string_or(b, "how", ""));
  if (kind == "unit.adopted") return fmt::format("unit {} adopted on {} hosts", get_string_or(b, "unit", ""), get_strings_or_empty(b, "hosts").size());
  if (kind == "rollout.paused") return "paused: " + get_string_or(b, "why", "");
  if (kind.starts_with("rollout.")) return kind.substr(8);
  if (kind == "stage.passed") return fmt::format("stage {} passed", get_int_or(b, "stage", 0) + 1);
  if (kind == "once.done") return fmt::format("done once: {}", get_string_or(b, "run", "?"));
  if (kind == "once.failed" || kind == "once.unknown")
    return fmt::format("once: {} {}{}", get_string_or(b, "run", "?"), kind == "once.failed" ? "failed" : "may or may not have been done", tail);
  if (kind == "rollback.proof")
    return fmt::format("way back from {} to {} proven on {}", get_string_or(b, "to_version", "?"), get_string_or(b, "from_version", "?"), host);
  if (kind == "rollback.started") return fmt::format("rip cord pulled on {}", release_of(b));
  if (kind == "prune.started") return every ? fmt::format("prune of {} started", release_of(b)) : "";
  if (kind == "prune.ended") {
    std::size_t marked = 0, removed = 0, hosts = 0;
    if (const auto* list = find_array(b, "hosts")) {
      hosts = list->size();
      for (const auto& h : *list)
        if (const auto* items = h.is_object() ? find_array(h.get_object(), "items") : nullptr)
          for (const auto& item : *items) {
            auto fate = item.is_object() ? get_string_or(item.get_object(), "fate", "") : "";
            marked += fate == "marked", removed += fate == "removed";
          }
    }
    return fmt::format("pruned {}: {} marked, {} removed on {} hosts", release_of(b), marked, removed, hosts);
  }
  if (kind == "rollback.ended") return fmt::format("rip cord: exit {}", get_int_or(b, "exit", 0));
  if (kind == "host.failed" || kind == "host.unhealthy") return fmt::format("{} failed{}", host, tail);
  if (kind == "host.returned" && b.contains("drained")) return fmt::format("{} returned, and is not back in service: {}", host, get_string_or(b, "drained", ""));
  if (kind == "host.unreachable" || kind == "host.unknown") return fmt::format("{} {}{}", host, kind.substr(5), tail);
  if (kind == "host.stuck" && get_bool_or(b, "rehearsal", false)) return fmt::format("the way back does not work on {}{}", host, tail);
  if (kind == "host.stuck") return fmt::format("{} needs a person{}", host, tail);
  if (kind.starts_with("drift.")) {
    std::set<std::string> hosts;
    if (const auto* findings = find_array(b, "findings"))
      for (const auto& f : *findings)
        if (f.is_object()) hosts.insert(get_string_or(f.get_object(), "host", ""));
    if (!host.empty()) hosts.insert(host);
    auto names = join({hosts.begin(), hosts.end()}, ", ");
    if (kind == "drift.found") return "drift found on " + names;
    if (kind == "drift.gone") return "drift gone on " + names;
    if (kind == "drift.accepted") return fmt::format("drift accepted on {} until {}", names, get_string_or(b, "until", ""));
    if (kind == "drift.repair") return fmt::format("repair of {}", names);
    if (kind == "drift.set_aside") return fmt::format("{}: {} put right{}", names, get_string_or(b, "release", ""), b.contains("kept") ? ", what was there is kept in " + get_string(b, "kept") : "");
  }
  if (!every) return "";
  if (kind.starts_with("host.")) return fmt::format("{} {}", host, kind.substr(5));
  return kind;
}

}  // namespace

std::vector<HistoryLine> history(const std::vector<LedgerEntry>& entries, const std::string& unit, bool every_entry) {
  std::vector<HistoryLine> lines;
  for (const auto& e : entries) {
    const auto& b = e.body;
    HistoryLine line;
    line.unit = get_string_or(b, "unit", "");
    line.kind = get_string_or(b, "kind", "");
    const bool of_hosts = line.kind.starts_with("quarantine.") || line.kind.starts_with("hosts.") || line.kind.starts_with("trust.");  // every unit's business
    if (!unit.empty() && line.unit != unit && !of_hosts) continue;
    line.what = sentence(line.kind, b, every_entry);
    if (line.what.empty()) continue;
    line.time = get_string_or(b, "spooled_at", get_string_or(b, "time", ""));  // when it happened
    line.who = get_string_or(b, "who", "");
    line.machine = get_string_or(b, "machine", "");
    line.rollout = get_string_or(b, "rollout", "");
    line.why = get_string_or(b, "why", "");
    line.seq = e.seq;
    lines.push_back(std::move(line));
  }
  return lines;
}

std::vector<LedgerEntry> read_all(Ledger& ledger) {
  constexpr std::size_t kBatch = 100000;
  std::vector<LedgerEntry> all;
  while (true) {
    auto some = ledger.read(all.empty() ? 0 : all.back().seq + 1, kBatch);
    bool last = some.size() < kBatch;
    if (all.empty()) all = std::move(some);
    else all.insert(all.end(), std::make_move_iterator(some.begin()), std::make_move_iterator(some.end()));
    if (last) return all;
  }
}

std::vector<std::string> rollouts(const std::vector<LedgerEntry>& entries, const std::string& unit) {
  std::vector<std::string> ids;
  for (const auto& e : entries)
    if (get_string_or(e.body, "kind", "") == "rollout.started" && (unit.empty() || get_string_or(e.body, "unit", "") == unit))
      ids.push_back(get_string(e.body, "rollout"));
  return ids;
}

std::optional<RolloutState> newest_rollout(const std::vector<LedgerEntry>& entries, const std::string& unit) {
  if (auto open = open_rollout(entries, unit)) return open;
  auto ids = rollouts(entries, unit);
  return ids.empty() ? std::nullopt : fold_rollout(entries, ids.back());
}

std::optional<RolloutState> newest_decision(const std::vector<LedgerEntry>& entries, const std::string& unit) {
  if (auto open = open_rollout(entries, unit)) return open;
  auto ids = rollouts(entries, unit);
  for (auto id = ids.rbegin(); id != ids.rend(); ++id) {
    auto state = fold_rollout(entries, *id);
    if (state && (state->spec().purpose.empty() || state->ending != Ending::completed)) return state;
  }
  return newest_rollout(entries, unit);
}

std::vector<LostRollout> lost_rollouts(const std::vector<LedgerEntry>& entries, const std::string& unit) {
  std::vector<LostRollout> lost;
  for (const auto& e : entries) {
    if (get_string_or(e.body, "unit", "") != unit) continue;
    const auto kind = get_string_or(e.body, "kind", "");
    if (kind == "rollout.started" || kind == "rollback.started") lost.clear();
    if (kind == "rollout.lost") lost.push_back({get_string(e.body, "rollout"), get_string_or(e.body, "version", ""), get_strings_or_empty(e.body, "hosts")});
  }
  return lost;
}

std::string fleet_of_another(const std::vector<LedgerEntry>& entries, const std::string& fleet) {
  std::string other;
  for (const auto& e : entries) {
    if (get_string_or(e.body, "kind", "") != "rollout.started") continue;
    const auto* spec = find_object(e.body, "spec");
    auto of = spec ? get_string_or(*spec, "fleet", "") : "";
    if (of.empty() || of == fleet) return "";
    other = std::move(of);
  }
  return other;
}

std::optional<RolloutState> open_rollout(const std::vector<LedgerEntry>& entries, const std::string& unit) {
  std::vector<std::string> open;
  for (const auto& e : entries) {
    if (!unit.empty() && get_string_or(e.body, "unit", "") != unit) continue;
    auto kind = get_string_or(e.body, "kind", "");
    if (kind == "rollout.started" || kind == "drill.started") open.push_back(get_string(e.body, "rollout"));
    if (kind == "rollout.ended" || kind == "drill.ended") std::erase(open, get_string(e.body, "rollout"));
  }
  return open.empty() ? std::nullopt : fold_rollout(entries, open.back());
}

}  // namespace ripcord
