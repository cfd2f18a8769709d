#include "plans/ledger/quarantine.hpp"

#include <fmt/format.h>

#include "core/base/error.hpp"

namespace ripcord {
namespace {

constexpr Millis kDay(86400000);

// A point in time as a person writes it; nullopt: this is not one. parse_utc takes only the ledger's own form.
std::optional<WallTime> point_in_time(std::string text) {
  const bool day = text.size() == 10;
  if (day) text += "T00:00:00.000Z";
  else if (text.size() == 17 && text.back() == 'Z') text.insert(16, ":00.000");  // 2027-01-31T18:00Z
  else if (text.size() == 20 && text.back() == 'Z') text.insert(19, ".000");     // 2027-01-31T18:00:00Z
  try {
    auto at = parse_utc(text);
    if (format_utc(at) != text) return std::nullopt;  // the 31st of November is no day
    return day ? at + kDay : at;
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace

std::string Quarantine::text() const { return fmt::format("quarantined until {}, owner {}: {}", until_text(until), owner, reason); }

Quarantines fold_quarantines(const std::vector<LedgerEntry>& entries, const std::string& fleet) {
  Quarantines out;
  for (const auto& e : entries) {
    const auto& b = e.body;
    const auto kind = get_string_or(b, "kind", "");
    if (!kind.starts_with("quarantine.") || get_string_or(b, "fleet", "") != fleet) continue;
    auto host = get_string(b, "host");
    out.erase(host);
    if (kind != "quarantine.set") continue;
    out[host] = {host, get_string_or(b, "reason", ""), get_string_or(b, "owner", ""), get_string_or(b, "who", ""), parse_utc(get_string(b, "time")),
                 parse_utc(get_string(b, "until"))};
  }
  return out;
}

Quarantines in_force(Quarantines all, WallTime now) {
  std::erase_if(all, [&](const auto& one) { return one.second.until <= now; });
  return all;
}

json::object quarantine_entry(const Quarantine& q, const std::string& fleet) {
  return {{"kind", "quarantine.set"}, {"fleet", fleet}, {"host", q.host}, {"reason", q.reason}, {"owner", q.owner}, {"until", format_utc(q.until)}};
}

json::object lifted_entry(const std::string& host, const std::string& fleet, const std::string& why) {
  return {{"kind", "quarantine.lifted"}, {"fleet", fleet}, {"host", host}, {"why", why}};
}

WallTime parse_until(const std::string& text, WallTime now) {
  auto span = parse_duration(text);
  auto until = span ? std::optional(now + *span) : point_in_time(text);
  if (!until)
    throw Error(fmt::format("--until: '{}' is neither a day nor a duration", escape_terminal(text)),
                "write 2027-01-31 (that day included), 2027-01-31T18:00Z, 4h or 3d", Exit::usage);
  if (*until <= now) throw Error(fmt::format("--until: {} has passed", until_text(*until)), "a quarantine ends in the future", Exit::usage);
  return *until;
}

std::string until_text(WallTime until) {
  if (until.ms % kDay.count() == 0) return "the end of " + format_utc(WallTime{until.ms - 1}).substr(0, 10);
  auto text = format_utc(until);
  return text.substr(0, 10) + " " + text.substr(11, until.ms % 60000 == 0 ? 5 : 8) + " UTC";
}

}  // namespace ripcord
