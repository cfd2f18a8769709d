#include "plans/rollback/rollback.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "cli/command.hpp"
#include "cli/confirm.hpp"
#include "cli/limit.hpp"
#include "cli/look.hpp"
#include "cli/view/words.hpp"
#include "core/base/files.hpp"
#include "plans/files/plan.hpp"
#include "plans/hosts/release_on_hand.hpp"
#include "plans/ledger/history.hpp"
#include "plans/ledger/spool.hpp"

namespace ripcord::cli {
namespace {

class Rollback : public Command {
 public:
  void declare(Arguments& a) override {
    a.positional("UNIT", unit_, "the unit to bring back");
    a.value("--to", options_.to_version, "VERSION", "to this version; else to what ran before the newest rollout");
    a.value("--limit", limit_, "SELECTOR", "switch only these hosts (a selector, or names: web-1,web-2); all are fenced");
    a.value("--stage", stage_, "STAGE", "switch only the hosts of this stage; all are fenced");
    a.value("--root", root_, "FOLDER", "where the unit lives, when no release of it is known here (/srv)");
    a.flag("--skip-missing", options_.skip_missing, "go on when some host has not got the target and cannot get it");
    a.flag("--at-once", at_once_, "do not keep to max_unavailable of plans/UNIT.yaml: everything is down already");
    a.flag("--dry-run", options_.dry_run, "only say what would be done");
    a.value("-m,--message", options_.why, "WHY", "the reason; it goes into the ledger");
    confirmation_.declare(a, false);
  }

  Exit run(Context& c) override {
    auto unit = find_unit(c);
    options_.who = c.who();
    if (limit_) options_.limit = limit_of_hosts(c.fleet());
    LedgerNearby ledger(c.loop(), c.clock(), c.ledger_opener(options_.ledger_patience), unit_, c.who(), c.machine());
    if (stage_) options_.only = hosts_of_stage(c, ledger);
    if (!at_once_) keep_to_plan(c);
    auto& out = c.out();
    RollbackPlace place{c.loop(), c.clock(), c.ports(), c.more_ports(), c.fleet(), ledger, c.store_for_writing(), c.spool_folder()};

    std::string question = fmt::format("bring {} back on {}?", unit_, count_of(hosts_.size(), "host"));
    if (!options_.dry_run && !confirmation_.yes && out.can_ask()) {
      auto preview = options_;
      preview.dry_run = true;
      auto would = c.wait(run_rollback(place, hosts_, unit, preview, {}));
      if (out.text()) print_table(out, would, true);
      auto returns = std::count_if(would.lines.begin(), would.lines.end(), [](const RollbackLine& l) { return l.result == RollbackLine::Result::returned; });
      question = fmt::format("bring {} back on {}, and fence all {}?", unit_, count_of(static_cast<std::size_t>(returns), "host"), hosts_.size());
    }
    if (!options_.dry_run) confirm(c, confirmation_, question, false);

    std::function<void(const RollbackLine&)> heard = [&](const RollbackLine& line) {
      if (options_.dry_run || out.quiet) return;
      if (out.text()) out.note(time_of_day(c.now()) + " " + sentence(line));
      if (out.format == Format::jsonl) out.print_json(line_json(line));
    };
    out.version_line();
    auto result = c.wait(run_rollback(place, hosts_, unit, options_, heard));
    if (!result.ledger_written && !options_.dry_run && !result.nothing_done)
      out.warn(fmt::format("going on without the ledger, what was done is noted in {}: {}", c.spool_folder(), ledger.trouble()));
    report(c, result);
    merge_older_spools(c, ledger);
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
    options_.hosts_guessed = carry.empty();
    for (const auto& h : fleet.hosts)
      if (carry.empty() || carry.contains(&h)) hosts_.push_back(&h);
    return unit;
  }

  // A typo here would fence every host, move none, and look like success.
  Selector limit_of_hosts(const Fleet& fleet) const {
    auto limit = parse_limit(fleet, *limit_);
    if (std::none_of(hosts_.begin(), hosts_.end(), [&](const Host* h) { return limit.matches(h->labels); }))
      throw Error(fmt::format("--limit '{}' matches no host of unit '{}'", escape_terminal(*limit_), unit_),
                  "nothing was touched; " + no_match_hint(fleet, *limit_), Exit::refused);
    return limit;
  }

  // As wide as the plan's last stage allows. A plan that cannot be read does not hold the cord up.
  void keep_to_plan(Context& c) {
    auto file = c.fleet().folder + "/plans/" + unit_ + ".yaml";
    if (!exists(file)) return;
    try {
      auto plan = load_plan(file, c.fleet());
      if (plan.stages.empty() || !plan.stages.back().max_unavailable) return;
      const auto& limit = *plan.stages.back().max_unavailable;
      std::map<std::string, int> sizes;
      for (const auto* h : hosts_) {
        auto found = h->labels.find(limit.label);
        ++sizes[limit.label.empty() || found == h->labels.end() ? "" : found->second];
      }
      int smallest = static_cast<int>(hosts_.size());
      for (const auto& [domain, size] : sizes) smallest = std::min(smallest, size);
      options_.domain_label = limit.label;
      options_.max_unavailable = std::max(1, limit.amount.of(smallest));
    } catch (const Error& e) {
      c.out().warn(fmt::format("going back without the plan's max_unavailable: {}", e.what()));
    }
  }

  // As the newest rollout assigned them; without a ledger as the plan would.
  std::set<std::string> hosts_of_stage(Context& c, LedgerNearby& ledger) {
    std::set<std::string> names;
    std::vector<std::string> stages;
    if (auto* l = c.wait(ledger.within(c.clock().elapsed() + options_.ledger_patience)))
      if (auto rollout = newest_decision(l->read(0), unit_)) {
        const auto& spec = rollout->spec();
        for (const auto& s : spec.stages) stages.push_back(s.name);
        for (const auto& h : spec.hosts)
          if (spec.stages.at(static_cast<std::size_t>(h.stage)).name == *stage_) names.insert(h.name);
      }
    if (stages.empty()) {
      auto file = c.fleet().folder + "/plans/" + unit_ + ".yaml";
      auto plan = exists(file) ? load_plan(file, c.fleet()) : default_ladder(c.fleet(), hosts_);
      auto assigned = assign_stages(plan, hosts_);
      for (std::size_t i = 0; i < plan.stages.size(); ++i) {
        stages.push_back(plan.stages[i].name);
        if (plan.stages[i].name == *stage_)
          for (const auto* h : assigned[i]) names.insert(h->name);
      }
    }
    if (names.empty())
      throw Error(fmt::format("no host of {} is in a stage '{}'", unit_, escape_terminal(*stage_)),
                  "stages: " + join(stages, ", ") + "; nothing was changed", Exit::refused);
    return names;
  }

  // What was pulled while the ledger was away is merged once the hurry is over.
  static void merge_older_spools(Context& c, LedgerNearby& ledger) {
    auto* open = ledger.now();
    if (!open || !exists(c.spool_folder())) return;
    try {
      if (auto merged = c.wait(merge_spool(*open, c.spool_folder())); merged > 0)
        c.out().note(fmt::format("{} entries of a rollback without the ledger are in it now", merged));
    } catch (const Error& e) {
      c.out().warn(fmt::format("what was noted in {} is not in the ledger yet: {}", c.spool_folder(), e.what()));
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
    if (!l.drained.empty()) o["drained"] = l.drained;
    o["before"] = l.before ? json::value(to_json(*l.before)) : json::value(nullptr);
    o["target"] = l.target ? json::value(to_json(*l.target)) : json::value(nullptr);
    o["after"] = l.after ? json::value(to_json(*l.after)) : json::value(nullptr);
    return o;
  }

  static void print_table(Output& out, const RollbackResult& r, bool dry) {
    Table table({"HOST", "RAN", dry ? "WOULD RUN" : "RUNS NOW", "RESULT", ""});
    for (const auto& l : r.lines) {
      if (!l.selected && l.result == RollbackLine::Result::unchanged) continue;
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
                                  {"owed", to_json_array(r.owed)},
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
                                  {"owed", to_json_array(r.owed)},
                                  {"in_ledger", r.ledger_written},
                                  {"hosts", std::move(lines)}});
      return;
    }
    print_table(out, r, options_.dry_run);
    std::size_t returned = 0, trouble = 0, unfenced = 0, out_of_service = 0;
    for (const auto& l : r.lines) {
      unfenced += !l.selected && l.result == RollbackLine::Result::unreachable;
      if (!l.selected) continue;
      returned += l.result == RollbackLine::Result::returned;
      trouble += l.result != RollbackLine::Result::returned && l.result != RollbackLine::Result::unchanged;
      out_of_service += !l.drained.empty();
    }
    auto undone = r.undone_rollout.empty() ? "" : " (undoes rollout " + r.undone_rollout + ")";
    if (options_.dry_run) out.note(fmt::format("{} would return{}; nothing was changed", count_of(returned, "host"), undone));
    else
      out.note(fmt::format(
          "{} returned{}{}", count_of(returned, "host"), undone,
          trouble ? fmt::format("; {} did not: say `{}` again once they answer", count_of(trouble, "host"), c.command("rollback " + unit_))
                  : ""));
    if (out_of_service > 0)
      out.warn(fmt::format("{} not back in service: look why undrain fails, and `{}` tries it again", count_of(out_of_service, "host"), c.command("rollback " + unit_)));
    if (unfenced > 0) out.warn(fmt::format("{} outside what was asked for did not answer, and could not be fenced", count_of(unfenced, "host")));
    if (returned == 0 && trouble == 0 && !r.undone_rollout.empty() && !options_.to_version)
      out.note(fmt::format("rollout {} is undone already; `{}` goes further back", r.undone_rollout, c.command("rollback " + unit_ + " --to VERSION")));
  }

  std::string unit_;
  std::optional<std::string> limit_, root_, stage_;
  bool at_once_ = false;
  RollbackOptions options_;
  Confirmation confirmation_;
  std::vector<const Host*> hosts_;
};

}  // namespace

std::unique_ptr<Command> make_rollback() { return std::make_unique<Rollback>(); }

}  // namespace ripcord::cli
