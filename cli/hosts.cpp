#include <fmt/format.h>

#include "cli/command.hpp"
#include "cli/debts.hpp"
#include "cli/hosts_roster.hpp"
#include "cli/look.hpp"
#include "cli/view/words.hpp"
#include "plans/hosts/readiness.hpp"

namespace ripcord::cli {
namespace {

class Hosts : public Command {
 public:
  void declare(Arguments& a) override {
    a.positionals("ACTION", words_, "none: what every host runs; replace OLD NEW, retire HOST, readmit HOST: who is expected, for the ledger");
    a.value("--limit", limit_, "SELECTOR", "only these hosts: a selector, or names (web-1,web-2)");
    a.value("--unit", unit_, "UNIT", "only this unit; else every unit that is sealed here");
    a.value("-m,--message", why_, "WHY", "replace, retire, readmit: why; required");
  }

  Exit run(Context& c) override {
    if (!words_.empty()) return change_roster(c, words_, why_);
    auto hosts = limited(c, limit_);
    const auto book = book_of(c);
    auto units = unit_ ? std::vector<std::string>{*unit_} : c.store().units();
    if (units.empty()) units.push_back("");
    std::vector<std::vector<HostLook>> looks;
    std::vector<Readiness> ways;
    for (const auto& unit : units) {
      looks.push_back(looks.empty() ? look_for_unit(c, hosts, unit, Verify::quick, false)
                                    : again(looks.back(), [&](auto who) { return look_for_unit(c, who, unit, Verify::quick, false); }));
      if (unit.empty()) continue;
      ways.push_back(readiness(again(looks.back(), [&](auto who) {
        return c.wait(look_back_at(c.loop(), c.ports(), who, unit_ref(c, unit), Verify::quick, kLookWidth));
      })));
    }

    auto& out = c.out();
    std::vector<std::string> heads{"HOST", "DATACENTER"};
    for (const auto& u : units)
      if (!u.empty()) heads.push_back(u);
    heads.insert(heads.end(), {"RELEASES", "FREE", "DEAD-MAN", "STATE"});
    Table table(heads);
    json::array items;
    Exit exit = Exit::done;
    std::size_t lost = 0;
    for (std::size_t i = 0; i < hosts.size(); ++i) {
      // A host that fell silent between two units is shown as it was last heard.
      const HostLook& newest = looks.back()[i];
      std::vector<Table::Cell> row{{hosts[i]->name}, {hosts[i]->datacenter}};
      auto item = look_json(newest);
      json::object running, back;
      std::uint64_t bytes = 0;
      for (std::size_t u = 0; u < units.size(); ++u) {
        if (units[u].empty()) continue;
        const auto& l = looks[u][i];
        row.push_back(l.look ? running_cell(l.look->unit) : Table::Cell{"?", Tone::warn});
        if (l.look) bytes += l.look->unit.release_bytes;
        back[units[u]] = json::object{{"state", to_text(ways[u].hosts[i].state)}, {"to", ways[u].hosts[i].to}};
        running[units[u]] = l.look && l.look->unit.running ? json::value(to_json(*l.look->unit.running)) : json::value(nullptr);
      }
      item["running"] = std::move(running);
      item["way_back"] = std::move(back);
      if (newest.look) item["release_bytes"] = bytes, item["free_bytes"] = newest.look->unit.free_bytes;
      auto [apart, tone] = standing(book, *hosts[i], looks, units, i, item);
      items.push_back(std::move(item));
      row.push_back({newest.look ? format_size(bytes) : "-"});
      row.push_back({newest.look ? format_size(newest.look->unit.free_bytes) : "-"});
      row.push_back({newest.look ? newest.look->hello.deadman : "-"});
      if (!apart.empty()) row.push_back({newest.look ? apart : apart + "; " + newest.fault_name, tone});
      else if (newest.look && newest.look->hello.halted) row.push_back({newest.look->hello.halted->text(), Tone::bad});
      else if (newest.look) row.push_back({"ok", Tone::good});
      else row.push_back({newest.fault_name + ": " + newest.fault, Tone::bad});
      table.row(std::move(row));
      if (!newest.look && !book.quarantines.contains(hosts[i]->name)) {
        ++lost;
        exit = worst(exit, newest.fault_kind == LinkFault::trust ? Exit::integrity : Exit::unreachable);
      }
    }
    if (!out.text()) {
      out.print_list("hosts", items);
      return exit;
    }
    for (const auto& line : table.render(out.style)) out.print(line);
    if (!book.owed.empty()) out.note(fmt::format("`{}` brings what is owed", c.command("converge -m WHY")));
    for (std::size_t u = 0; u < ways.size(); ++u)
      if (ways[u].of > 0) out.note(units[u] + ": " + ways[u].text());
    if (lost > 0)
      out.note(fmt::format("{} of {} did not answer; `{}` tells the cure", lost, count_of(hosts.size(), "host"), c.command("doctor")));
    return exit;
  }

 private:
  // A host that was silent is not asked again for the next question: everybody would wait for it once more.
  template <class Ask>
  static std::vector<HostLook> again(const std::vector<HostLook>& before, Ask ask) {
    std::vector<const Host*> who;
    for (const auto& l : before)
      if (l.look) who.push_back(l.host);
    std::vector<HostLook> out = before;
    auto answers = ask(who);
    auto answer = answers.begin();
    for (auto& l : out)
      if (l.look) l = std::move(*answer++);
    return out;
  }

  // A ledger that is not there says nothing; what hosts run they say themselves.
  static DebtBook book_of(Context& c) {
    try {
      return debts_of(c);
    } catch (const Error& e) {
      c.out().warn(fmt::format("what is owed is not known: {}", e.what()));
      return {};
    }
  }

  // Quarantined, owed, installed again: in one cell, and in JSON each by its name.
  static std::pair<std::string, Tone> standing(const DebtBook& book, const Host& host, const std::vector<std::vector<HostLook>>& looks,
                                               const std::vector<std::string>& units, std::size_t i, json::object& item) {
    std::pair<std::string, Tone> out{"", Tone::warn};
    auto owed = book.of_host(host.name);
    item["owed"] = debts_json(owed);
    auto q = book.quarantines.find(host.name);
    item["quarantine"] = q == book.quarantines.end() ? json::value(nullptr) : json::value(quarantine_json(q->second, true));
    for (const auto& d : owed) out.first += (out.first.empty() ? "owed " : "; owed ") + d.text();
    for (std::size_t u = 0; u < units.size(); ++u) {
      auto by_host = book.intents.find(units[u]);
      if (!looks[u][i].look || by_host == book.intents.end() || !by_host->second.contains(host.name)) continue;
      auto again = installed_again(by_host->second.at(host.name), *looks[u][i].look);
      if (again.empty()) continue;
      item["installed_again"] = true;
      out.first += (out.first.empty() ? "" : "; ") + again;
    }
    if (q != book.quarantines.end()) out = {q->second.text(), Tone::dim};
    else if (!book.roster.expects(host.name)) out = {"not expected any more", Tone::dim};
    return out;
  }

  std::vector<std::string> words_;
  std::string why_;
  std::optional<std::string> limit_, unit_;
};

}  // namespace

std::unique_ptr<Command> make_hosts() { return std::make_unique<Hosts>(); }

}  // namespace ripcord::cli
