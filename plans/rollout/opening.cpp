#include "plans/rollout/opening.hpp"

#include <fmt/format.h>

#include <map>
#include <set>

#include "core/base/error.hpp"
#include "plans/ledger/history.hpp"

namespace ripcord {
namespace {

constexpr int kStartLooks = 1000;  // at a ledger that moves on each time

}  // namespace

std::string OpenRollout::text() const {
  return host.empty() ? fmt::format("unit '{}' has an open rollout", unit) : fmt::format("host '{}' is in an open rollout of unit '{}'", host, unit);
}

std::optional<OpenRollout> open_rollout_in_the_way(const std::vector<LedgerEntry>& entries, const std::string& unit, const std::vector<std::string>& hosts) {
  std::map<std::string, const LedgerEntry*> open;  // by id
  for (const auto& e : entries) {
    auto kind = get_string_or(e.body, "kind", "");
    if (kind == "rollout.started" || kind == "drill.started") open[get_string(e.body, "rollout")] = &e;
    if (kind == "rollout.ended" || kind == "drill.ended") open.erase(get_string(e.body, "rollout"));
  }
  const std::set<std::string> wanted(hosts.begin(), hosts.end());
  std::optional<OpenRollout> found;
  for (const auto& [id, started] : open) {
    const auto& b = started->body;
    OpenRollout one{id, get_string_or(b, "unit", ""), get_string_or(b, "version", ""), get_string_or(b, "who", ""), get_string_or(b, "machine", ""),
                    get_string_or(b, "why", ""), "", parse_utc(get_string(b, "time"))};
    if (one.unit == unit) return one;
    if (found) continue;
    for (const auto& host : rollout_spec_from_json(get_object(b, "spec")).hosts)
      if (wanted.contains(host.name)) {
        one.host = host.name;
        found = one;
        break;
      }
  }
  return found;
}

std::string changed_since_seen(const std::vector<LedgerEntry>& entries, std::int64_t seen, const std::string& unit) {
  for (const auto& e : entries) {
    if (e.seq < seen || get_string_or(e.body, "unit", "") != unit) continue;
    auto kind = get_string_or(e.body, "kind", "");
    if (kind != "rollout.started" && kind != "rollout.ended" && kind != "rollback.started" && kind != "unit.adopted") continue;
    return fmt::format("{} by {} on {} at {}", kind, get_string_or(e.body, "who", "?"), get_string_or(e.body, "machine", "?"), get_string(e.body, "time"));
  }
  return "";
}

void require_free(const std::vector<LedgerEntry>& entries, const RolloutSpec& spec, std::int64_t seen) {
  std::vector<std::string> hosts;
  for (const auto& h : spec.hosts) hosts.push_back(h.name);
  if (auto other = open_rollout_in_the_way(entries, spec.unit, hosts))
    throw Error(fmt::format("{}: {} of {}, started by {} on {} since {}{}", other->text(), other->rollout, other->version, other->who, other->machine,
                            format_utc(other->since), other->why.empty() ? "" : ": " + other->why),
                fmt::format("nothing was changed; watch it with 'ripcord status -w {}', go on with resume, go back with abort", other->unit), Exit::held);
  auto changed = seen < 0 ? std::string() : changed_since_seen(entries, seen, spec.unit);
  if (!changed.empty())
    throw Error(fmt::format("unit '{}' has changed since its hosts were looked at: {}", spec.unit, changed), "nothing was changed; plan or apply again",
                Exit::held);
}

Task<> append_when(Ledger& ledger, json::object entry, LedgerStore::Guard guard, std::function<void(const std::vector<LedgerEntry>&)> look) {
  for (int looks = 0; looks < kStartLooks; ++looks) {
    auto entries = read_all(ledger);
    look(entries);
    std::vector<json::object> bodies{entry};
    std::optional<LedgerStore::Guard> held = guard;
    const std::int64_t size = entries.empty() ? 0 : entries.back().seq + 1;
    try {
      co_await ledger.append_at(size, std::move(bodies), std::move(held));
      co_return;
    } catch (const LedgerMoved&) {  // look again
    }
  }
  throw Error("the ledger changes faster than it can be read; nothing was changed", "run the command again", Exit::held);
}

}  // namespace ripcord
