#include "plans/rollback.hpp"

#include <fmt/format.h>

#include <set>

#include "cli/command.hpp"
#include "cli/confirm.hpp"
#include "cli/look.hpp"
#include "cli/view/words.hpp"

namespace ripcord::cli {
namespace {

constexpr Millis kLedgerMayTake{1000};  // the cord does not wait for a database

class Rollback : public Command {
 public:
  void declare(Arguments& a) override {
    a.positional("UNIT", unit_, "the unit to bring back");
    a.value("--to", options_.to_version, "VERSION", "to this version; else to what ran before the newest rollout");
    a.value("--limit", limit_, "SELECTOR", "only these hosts");
    a.value("--root", root_, "FOLDER", "where the unit lives, when no release of it is known here (/srv)");
    a.flag("--skip-missing", options_.skip_missing, "go on when some host has not got the target and cannot get it");
    a.flag("--dry-run", options_.dry_run, "only say what would be done");
    a.value("-m,--message", options_.why, "WHY", "the reason; it goes into the ledger");
    confirmation_.declare(a, false);
  }

  Exit run(Context& c) override {
    auto unit = find_unit(c);
    options_.who = c.who();
    if (limit_) options_.limit = Selector::parse(*limit_);
    Ledger* ledger = ledger_if_it_opens(c);
    auto& out = c.out();

    if (!options_.dry_run && !confirmation_.yes && out.can_ask()) {
      auto preview = options_;
      preview.dry_run = true;
      auto would = c.wait(run_rollback(c.loop(), c.clock(), ledger, c.spool_folder(), c.ports(), c.fleet(), hosts_, unit, preview, {}));
      if (out.text()) print_table(out, would, true);
    }
    if (!options_.dry_run) confirm(c, confirmation_, fmt::format("bring {} back on {}?", unit_, count_of(hosts_.size(), "host")), false);

    std::function<void(const RollbackLine&)> heard = [&](const RollbackLine& line) {
      if (options_.dry_run || out.quiet) return;
      if (out.text()) out.note(time_of_day(c.now()) + " " + sentence(line));
      if (out.format == Format::jsonl) out.print_json(line_json(line));
    };
    out.version_line();
    auto result = c.wait(run_rollback(c.loop(), c.clock(), ledger, c.spool_folder(), c.ports(), c.fleet(), hosts_, unit, options_, heard));
    report(c, result);
    return result.exit;
  }

 private:
  // Where the unit lives and on which hosts, by every release of it that is sealed here; without any, every host is asked.
  UnitRef find_unit(Context& c) {
    UnitRef unit{unit_, root_.value_or("/srv")};
    const auto& fleet = c.fleet();
    std::set<const Host*> carry;
    try {
      for (const auto& [version, digest] : c.store().versions(unit_)) {
        auto spec = load_release(c.store(), digest).manifest.spec;
        if (!root_) unit.root = spec.root;
        for (const auto* h : fleet.select(Selector::parse(spec.hosts))) carry.insert(h);
      }
    } catch (const Error& e) {
      c.out().warn(fmt::format("the store cannot be read, so every host is asked: {}", e.what()));
      carry.clear();
    }
    for (const auto& h : fleet.hosts)
      if (carry.empty() || carry.contains(&h)) hosts_.push_back(&h);
    return unit;
  }

  Ledger* ledger_if_it_opens(Context& c) {
    try {
      return &c.ledger(kLedgerMayTake);
    } catch (const Error& e) {
      c.out().warn(fmt::format("going on without the ledger, what is done is noted in {}: {}", c.spool_folder(), e.what()));
      return nullptr;
    }
  }

  static std::string version(const std::optional<ReleaseId>& r) { return r ? r->version : "nothing"; }

  static Tone tone(RollbackLine::Result r) {
    using R = RollbackLine::Result;
    return r == R::unchanged ? Tone::dim : r == R::returned ? Tone::good : r == R::unreachable || r == R::missing ? Tone::warn : Tone::bad;
  }

  static std::string sentence(const RollbackLine& l) {
    return fmt::format("{} {}{}{}", l.host, to_text(l.result), l.result == RollbackLine::Result::returned ? " to " + version(l.target) : "",
                       l.detail.empty() ? "" : ": " + l.detail);
  }

  static json::object line_json(const RollbackLine& l) {
    json::object o{{"kind", "rollback.host"}, {"host", l.host}, {"result", to_text(l.result)}, {"detail", l.detail}};
    o["before"] = l.before ? json::value(to_json(*l.before)) : json::value(nullptr);
    o["target"] = l.target ? json::value(to_json(*l.target)) : json::value(nullptr);
    o["after"] = l.after ? json::value(to_json(*l.after)) : json::value(nullptr);
    return o;
  }

  static void print_table(Output& out, const RollbackResult& r, bool dry) {
    Table table({"HOST", "RAN", dry ? "WOULD RUN" : "RUNS NOW", "RESULT", ""});
    for (const auto& l : r.lines) {
      const bool silent = l.result == RollbackLine::Result::unreachable, returns = l.result == RollbackLine::Result::returned;
      auto now = silent ? "?" : version(!dry ? l.after : returns ? l.target : l.before);
      auto result = dry && returns ? "would return" : std::string(to_text(l.result));
      table.row({{l.host}, {silent && !l.before ? "?" : version(l.before)}, {now}, {result, tone(l.result)}, {l.detail}});
    }
    for (const auto& line : table.render(out.style)) out.print(line);
  }

  void report(Context& c, const RollbackResult& r) {
    auto& out = c.out();
    if (out.format == Format::jsonl) {
      out.print_json(json::object{{"kind", "rollback.end"},
                                  {"exit", static_cast<int>(r.exit)},
                                  {"op", r.op},
                                  {"undone_rollout", r.undone_rollout},
                                  {"in_ledger", r.ledger_written}});
      return;
    }
    if (out.format == Format::json) {
      json::array lines;
      for (const auto& l : r.lines) lines.push_back(line_json(l));
      out.print_json(json::object{{"unit", unit_},
                                  {"exit", static_cast<int>(r.exit)},
                                  {"op", r.op},
                                  {"undone_rollout", r.undone_rollout},
                                  {"dry_run", options_.dry_run},
                                  {"in_ledger", r.ledger_written},
                                  {"hosts", std::move(lines)}});
      return;
    }
    print_table(out, r, options_.dry_run);
    std::size_t returned = 0, trouble = 0;
    for (const auto& l : r.lines) {
      returned += l.result == RollbackLine::Result::returned;
      trouble += l.result != RollbackLine::Result::returned && l.result != RollbackLine::Result::unchanged;
    }
    auto undone = r.undone_rollout.empty() ? "" : " (undoes rollout " + r.undone_rollout + ")";
    if (options_.dry_run) out.note(fmt::format("{} would return{}; nothing was changed", count_of(returned, "host"), undone));
    else
      out.note(fmt::format(
          "{} returned{}{}", count_of(returned, "host"), undone,
          trouble ? fmt::format("; {} did not: say `{}` again once they answer", count_of(trouble, "host"), c.command("rollback " + unit_))
                  : ""));
  }

  std::string unit_;
  std::optional<std::string> limit_, root_;
  RollbackOptions options_;
  Confirmation confirmation_;
  std::vector<const Host*> hosts_;
};

}  // namespace

std::unique_ptr<Command> make_rollback() { return std::make_unique<Rollback>(); }

}  // namespace ripcord::cli
