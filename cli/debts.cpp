#include "cli/debts.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cli/view/words.hpp"
#include "core/net/ledger_address.hpp"

namespace ripcord::cli {

DebtBook debts_of(Context& c) {
  if (!ledger_exists(c.fleet().ledger)) return {};
  return fold_debts(c.entries(), c.fleet(), c.now());
}

std::vector<std::string> debt_lines(const std::vector<Debt>& debts, std::size_t most) {
  std::vector<std::pair<std::string, std::vector<std::string>>> groups;  // by what is said, in order
  for (const auto& d : debts) {
    auto text = d.text();
    auto found = std::find_if(groups.begin(), groups.end(), [&](const auto& g) { return g.first == text; });
    if (found == groups.end()) found = groups.insert(found, {text, {}});
    found->second.push_back(d.host);
  }
  std::vector<std::string> lines;
  std::size_t left = 0;
  for (const auto& [text, hosts] : groups) {
    if (lines.size() < most) lines.push_back(compress_hosts(hosts) + ": " + text);
    else left += hosts.size();
  }
  if (left > 0) lines.push_back(fmt::format("and {}", count_of(left, "more host")));
  return lines;
}

std::vector<std::string> quarantine_lines(const DebtBook& book) {
  std::vector<std::string> lines;
  for (const auto& [host, q] : book.quarantines) lines.push_back(fmt::format("{} {} (by {})", host, q.text(), q.by));
  return lines;
}

json::array debts_json(const std::vector<Debt>& debts) {
  json::array out;
  for (const auto& d : debts)
    out.push_back(json::object{{"host", d.host}, {"unit", d.unit}, {"kind", to_text(d.kind)}, {"version", d.version},
                               {"manifest", d.manifest.is_zero() ? json::value(nullptr) : json::value(d.manifest.hex())}, {"why", d.why}, {"rollout", d.rollout}});
  return out;
}

json::object quarantine_json(const Quarantine& q, bool in_force) {
  return {{"host", q.host}, {"reason", q.reason}, {"owner", q.owner}, {"by", q.by}, {"since", format_utc(q.since)}, {"until", format_utc(q.until)},
          {"in_force", in_force}};
}

Roll without_quarantined(Context& c, const DebtBook& book, std::vector<const Host*> hosts) {
  Roll roll;
  for (const auto* h : hosts) {
    if (auto found = book.quarantines.find(h->name); found != book.quarantines.end()) {
      roll.quarantined.push_back({h->name, found->second.text(), found->second.until.ms});
      continue;
    }
    if (book.roster.expects(h->name)) roll.hosts.push_back(h);
    else c.out().warn(fmt::format("{} is left out: {} said that it {}; take it out of the fleet file, or `{}`", h->name, book.roster.gone.at(h->name).who,
                                  book.roster.gone.at(h->name).replaced_by.empty() ? "is retired" : "is replaced by " + book.roster.gone.at(h->name).replaced_by,
                                  c.command("hosts readmit " + h->name + " -m WHY")));
  }
  return roll;
}

}  // namespace ripcord::cli
