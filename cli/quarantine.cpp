// quarantine: hosts that rollouts leave out by name until a day, in the ledger with reason and owner. Without a host: who is.
#include "plans/ledger/quarantine.hpp"

#include <fmt/format.h>

#include "cli/command.hpp"
#include "cli/debts.hpp"
#include "cli/view/words.hpp"

namespace ripcord::cli {
namespace {

class QuarantineCommand : public Command {
 public:
  void declare(Arguments& a) override {
    a.positionals("HOST", hosts_, "without one: who is in quarantine, and until when");
    a.value("--reason", reason_, "TEXT", "why it cannot take part");
    a.value("--owner", owner_, "WHO", "who brings it back: a person or a team");
    a.value("--until", until_, "WHEN", "a day (2027-01-31, included), a time (2027-01-31T18:00Z) or a duration from now (4h, 3d)");
    a.flag("--lift", lift_, "it is back: end the quarantine now");
    a.value("-m,--message", why_, "WHY", "with --lift: why; goes into the ledger");
  }

  Exit run(Context& c) override {
    if (hosts_.empty()) return list(c);
    if (lift_ && (reason_ || owner_ || until_)) throw Error("--lift takes no --reason, --owner or --until", {}, Exit::usage);
    if (!lift_ && (blank(reason_) || blank(owner_) || blank(until_)))
      throw Error("quarantine needs --reason TEXT, --owner WHO and --until WHEN", "somebody will ask why this host is left out, and who brings it back", Exit::usage);
    auto book = debts_of(c);
    return lift_ ? lift(c, book) : set(c, book);
  }

 private:
  static bool blank(const std::optional<std::string>& text) { return !text || trim(*text).empty(); }

  Exit set(Context& c, const DebtBook& book) {
    std::vector<json::object> bodies;
    const auto until = parse_until(*until_, c.now());
    for (const auto& name : hosts_) {
      require_host(c, name);
      if (!book.roster.expects(name))
        throw Error(fmt::format("host '{}' is retired or replaced: nothing is expected of it", name), "nothing was changed", Exit::refused);
      bodies.push_back(quarantine_entry({name, *reason_, *owner_, "", {}, until}, c.fleet().name));
    }
    auto entries = c.append(std::move(bodies));
    return report(c, entries);
  }

  Exit lift(Context& c, const DebtBook& book) {
    std::vector<json::object> bodies;
    for (const auto& name : hosts_) {
      if (!book.quarantines.contains(name) && !book.over.contains(name)) {
        require_host(c, name);
        throw Error(fmt::format("host '{}' is not in quarantine", name), "nothing was changed; `" + c.command("quarantine") + "` says who is", Exit::refused);
      }
      bodies.push_back(lifted_entry(name, c.fleet().name, why_));
    }
    auto entries = c.append(std::move(bodies));
    return report(c, entries);
  }

  static void require_host(Context& c, const std::string& name) {
    if (c.fleet().find(name)) return;
    std::vector<std::string> names;
    for (const auto& h : c.fleet().hosts) names.push_back(h.name);
    auto near = did_you_mean(name, names);
    throw Error(fmt::format("host '{}' is not in the fleet file{}", escape_terminal(name), near ? fmt::format(", did you mean '{}'?", *near) : ""),
                "nothing was changed", Exit::refused);
  }

  Exit report(Context& c, const std::vector<LedgerEntry>& entries) {
    auto& out = c.out();
    auto book = debts_of(c);
    if (!out.text()) {
      for (const auto& e : entries) out.print_json(e.body);
      return Exit::done;
    }
    for (const auto& name : hosts_) {
      auto q = book.quarantines.find(name);
      out.print(escape_terminal(q == book.quarantines.end() ? fmt::format("{}: its quarantine is lifted", name) : fmt::format("{} {}", name, q->second.text())));
    }
    if (!lift_) out.note("forward rollouts leave out whoever is in quarantine; a rollback reaches for it all the same, and when the time has passed it is owed again");
    std::vector<Debt> owed;
    for (const auto& name : hosts_)
      for (auto& d : book.of_host(name)) owed.push_back(std::move(d));
    for (const auto& line : debt_lines(owed)) out.note("owed now: " + line);
    if (!owed.empty()) out.note(fmt::format("`{}` brings what is owed", c.command("converge -m WHY")));
    return Exit::done;
  }

  Exit list(Context& c) {
    if (lift_ || reason_ || owner_ || until_) throw Error("HOST is missing", {}, Exit::usage);
    auto book = debts_of(c);
    auto& out = c.out();
    json::array items;
    Table table({"HOST", "UNTIL", "OWNER", "BY", "SINCE", "REASON"});
    for (const auto* some : {&book.quarantines, &book.over})
      for (const auto& [host, q] : *some) {
        const bool now = some == &book.quarantines;
        items.push_back(quarantine_json(q, now));
        table.row({{host}, {(now ? "" : "over: ") + until_text(q.until), now ? Tone::plain : Tone::warn}, {q.owner}, {q.by}, {short_time(q.since, c.now())}, {q.reason}});
      }
    if (!out.text()) {
      out.print_list("quarantine", items);
      return Exit::done;
    }
    if (table.empty()) out.print("no host is in quarantine");
    else
      for (const auto& line : table.render(out.style)) out.print(line);
    return Exit::done;
  }

  std::vector<std::string> hosts_;
  std::optional<std::string> reason_, owner_, until_;
  std::string why_;
  bool lift_ = false;
};

}  // namespace

std::unique_ptr<Command> make_quarantine() { return std::make_unique<QuarantineCommand>(); }

}  // namespace ripcord::cli
