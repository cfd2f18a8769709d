#include "plans/ledger/roster.hpp"

#include <set>

namespace ripcord {

std::vector<std::string> Roster::stands_in_for(const std::string& host) const {
  std::vector<std::string> out{host};
  std::set<std::string> seen{host};
  for (std::size_t i = 0; i < out.size(); ++i)
    for (const auto& [old, departure] : gone)
      if (departure.replaced_by == out[i] && seen.insert(old).second) out.push_back(old);
  out.erase(out.begin());
  return out;
}

Roster fold_roster(const std::vector<LedgerEntry>& entries, const std::string& fleet) {
  Roster roster;
  for (const auto& e : entries) {
    const auto& b = e.body;
    const auto kind = get_string_or(b, "kind", "");
    if (!kind.starts_with("hosts.") || get_string_or(b, "fleet", "") != fleet) continue;
    const auto host = get_string(b, "host");
    Departure left{get_string_or(b, "by", ""), get_string_or(b, "who", ""), get_string_or(b, "why", ""), get_string_or(b, "time", "")};
    if (kind == "hosts.readmitted") roster.gone.erase(host);
    if (kind == "hosts.retired" || kind == "hosts.replaced") roster.gone.insert_or_assign(host, left);
    if (kind == "hosts.replaced") roster.gone.erase(left.replaced_by);  // a name that comes back to work is expected again
  }
  return roster;
}

json::object retired_entry(const std::string& host, const std::string& fleet, const std::string& why) {
  return {{"kind", "hosts.retired"}, {"fleet", fleet}, {"host", host}, {"why", why}};
}

json::object replaced_entry(const std::string& host, const std::string& by, const std::string& fleet, const std::string& why) {
  return {{"kind", "hosts.replaced"}, {"fleet", fleet}, {"host", host}, {"by", by}, {"why", why}};
}

json::object readmitted_entry(const std::string& host, const std::string& fleet, const std::string& why) {
  return {{"kind", "hosts.readmitted"}, {"fleet", fleet}, {"host", host}, {"why", why}};
}

}  // namespace ripcord
