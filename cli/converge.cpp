// converge: hosts that are owed, joined, were installed again or came back are brought to what their unit's hosts are meant to run, the
// way of every rollout: verified, staged, armed, watched, confirmed. What that replaced is staged there first, so that they can go back.
#include "plans/rollout/converge.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <set>

#include "cli/command.hpp"
#include "cli/confirm.hpp"
#include "cli/debts.hpp"
#include "cli/halted.hpp"
#include "cli/ledger_check.hpp"
#include "cli/limit.hpp"
#include "cli/look.hpp"
#include "cli/rollout_run.hpp"
#include "cli/stage_predecessor.hpp"
#include "cli/target.hpp"
#include "cli/view/words.hpp"
#include "core/base/files.hpp"
#include "plans/hosts/host_objects.hpp"
#include "plans/hosts/predecessor.hpp"

namespace ripcord::cli {
namespace {

using What = ConvergeLine::What;

class Converge : public Command {
 public:
  void declare(Arguments& a) override {
    a.positionals("HOST|SELECTOR", words_, "only these hosts; else every host of the fleet");
    a.value("--unit", unit_, "UNIT", "only this unit; else every one that the ledger knows");
    a.flag("--dry-run", dry_run_, "only say which hosts would be brought where, and why");
    a.value("-m,--message", why_, "WHY", "the reason; required, it goes into the ledger");
    confirmation_.declare(a, true);
  }

  Exit run(Context& c) override {
    if (!dry_run_ && trim(why_).empty()) throw Error("converge needs a reason", "add -m WHY; it goes into the ledger", Exit::usage);
    if (!dry_run_) refuse_when_halted(c);
    (void)find_host_program();
    auto book = debts_of(c);
    choose(c, book);
    Exit exit = Exit::done;
    std::size_t hosts = 0, brought = 0;
    for (const auto& [unit, standing] : book.units) {
      if ((unit_ && unit != *unit_) || !standing.now()) continue;
      exit = worst(exit, one(c, book, unit, standing, hosts, brought));
    }
    return report(c, exit, hosts, brought);
  }

 private:
  // Who is meant. Error when a word means nobody, or somebody who is apart.
  void choose(Context& c, const DebtBook& book) {
    if (unit_ && !book.units.contains(*unit_)) {
      std::vector<std::string> names;
      for (const auto& [unit, standing] : book.units) names.push_back(unit);
      auto near = did_you_mean(*unit_, names);
      throw Error(fmt::format("unit '{}' was never rolled out by this ledger{}", escape_terminal(*unit_), near ? fmt::format(", did you mean '{}'?", *near) : ""), {}, Exit::refused);
    }
    for (const auto& word : words_) {
      auto selector = parse_limit(c.fleet(), word);
      if (c.fleet().select(selector).empty())
        throw Error(fmt::format("'{}' matches no host of fleet '{}'", escape_terminal(word), c.fleet().name),
                    "nothing was changed; " + no_match_hint(c.fleet(), word), Exit::refused);
      for (const auto& name : listed_hosts(c.fleet(), word)) {
        if (auto q = book.quarantines.find(name); q != book.quarantines.end())
          throw Error(fmt::format("host '{}' is {}", name, q->second.text()), fmt::format("nothing was changed; `{}` ends it", c.command("quarantine " + name + " --lift")), Exit::refused);
        named_.insert(name);
      }
      selectors_.push_back(std::move(selector));
    }
  }

  bool is_meant(const Host& h) const {
    return selectors_.empty() || std::any_of(selectors_.begin(), selectors_.end(), [&](const Selector& s) { return s.matches(h.labels); });
  }

  // Hosts that carry the unit, or are owed it, and are expected.
  std::vector<const Host*> hosts_of(Context& c, const DebtBook& book, const std::string& unit, const Stable& stable) const {
    std::set<std::string> carry;
    for (const auto& d : book.of_unit(unit)) carry.insert(d.host);
    if (auto by_host = book.intents.find(unit); by_host != book.intents.end())
      for (const auto& [host, intent] : by_host->second) carry.insert(host);
    if (!stable.carried_by.empty())
      for (const auto* h : c.fleet().select(Selector::parse(stable.carried_by))) carry.insert(h->name);
    std::vector<const Host*> out;
    for (const auto& h : c.fleet().hosts)
      if (carry.contains(h.name) && is_meant(h) && book.roster.expects(h.name) && !book.quarantines.contains(h.name)) out.push_back(&h);
    return out;
  }

  // A unit that is being rolled out does not hold up the others.
  Exit one(Context& c, const DebtBook& book, const std::string& unit, const UnitStanding& standing, std::size_t& hosts, std::size_t& brought) {
    try {
      return converge(c, book, unit, standing, hosts, brought);
    } catch (const Error& e) {
      if (unit_ || e.exit() != Exit::held || book.units.size() == 1) throw;
      c.out().warn(fmt::format("{} is left alone: {}", unit, e.what()));
      return Exit::held;
    }
  }

  Exit converge(Context& c, const DebtBook& book, const std::string& unit, const UnitStanding& standing, std::size_t& hosts, std::size_t& brought) {
    const auto& stable = *standing.now();
    auto chosen = hosts_of(c, book, unit, stable);
    if (chosen.empty()) return Exit::done;
    hosts += chosen.size();
    if (!dry_run_) refuse_open_rollouts(c, unit, chosen);
    const auto seen = c.ledger().store().size();
    UnitRef ref{unit, stable.root};
    auto looks = look_aloud(c, chosen, ref, Verify::quick, true);
    auto lines = plan_convergence(looks, {unit, &book, named_, c.ledger().id()});
    Exit exit = tell(c, book, unit, stable, lines);
    auto lost = lost_commits(c, looks, unit);
    if (!lost.empty()) throw Error(lost[0].what, "nothing was changed", lost[0].exit);
    std::erase_if(lines, [](const ConvergeLine& l) { return l.what != What::bring && l.what != What::note; });
    if (lines.empty() || dry_run_) return exit;
    exit = worst(exit, bring(c, standing, ref, lines, looks, seen));
    brought += lines.size();
    return exit;
  }

  Exit tell(Context& c, const DebtBook& book, const std::string& unit, const Stable& stable, const std::vector<ConvergeLine>& lines) const {
    auto& out = c.out();
    Exit exit = Exit::done;
    Table table({"HOST", "RUNS", "TO", "WHY"});
    for (const auto& l : lines) {
      const auto& name = l.look->host->name;
      const bool owed = !book.of_host(name).empty();
      if (l.what == What::left_alone || (l.what == What::silent && (owed || named_.contains(name)))) exit = worst(exit, Exit::unreachable);
      if (l.what == What::silent) exit = worst(exit, l.look->fault_kind == LinkFault::trust ? Exit::integrity : Exit::unreachable);
      if (l.what == What::silent) out.warn(fmt::format("{} did not answer{}: {}{}", name, owed ? ", and stays owed" : "", l.look->fault, l.look->hint.empty() ? "" : "; " + l.look->hint));
      if (l.what == What::left_alone) out.warn(fmt::format("{} is left alone: {}", name, l.why));
      if (l.what == What::well && !l.why.empty()) out.note(fmt::format("{}: {}", name, l.why));
      if (l.what != What::bring && l.what != What::note) continue;
      auto runs = running_cell(l.look->look->unit);
      table.row({{name}, runs, {l.what == What::note ? "(it is there)" : stable.version, Tone::good}, {l.why}});
    }
    for (const auto& d : book.of_unit(unit))
      if (d.kind == Debt::Kind::gone && selectors_.empty()) {
        out.warn(fmt::format("{}: {}; write it there again, or `{}`", d.host, d.text(), c.command("hosts retire " + d.host + " -m WHY")));
        exit = worst(exit, Exit::unreachable);
      }
    if (table.empty() || !out.text() || out.quiet) return exit;
    out.print(Line().add(fmt::format("{}@{}", unit, stable.version), Tone::bold).add(stable.by_cord ? ", where the rip cord left it" : ", completed by " + stable.rollout, Tone::dim).render(out.style));
    for (const auto& line : table.render(out.style)) out.print(line);
    return exit;
  }

  static Plan plan_of(Context& c, const std::string& unit, const std::vector<const Host*>& hosts) {
    auto file = c.fleet().folder + "/plans/" + unit + ".yaml";
    return convergence_plan(exists(file) ? load_plan(file, c.fleet()) : default_ladder(c.fleet(), hosts));
  }

  Exit bring(Context& c, const UnitStanding& standing, const UnitRef& ref, std::vector<ConvergeLine> lines, const std::vector<HostLook>& looks, std::int64_t seen) {
    const auto& stable = *standing.now();
    // What this machine's store lacks, hosts have.
    std::vector<std::string> holders;
    for (const auto& l : looks)
      if (l.look && std::any_of(l.look->unit.releases.begin(), l.look->unit.releases.end(), [&](const ReleaseId& r) { return r.manifest == stable.manifest; }))
        holders.push_back(l.host->name);
    HostObjects objects(c.store_for_writing(), c.more_ports(), ref, holders);
    auto release = c.wait(release_on_hand(c.store_for_writing(), objects, stable.manifest));
    auto packs = store_or_host_packs(c.store(), objects);

    PreflightOptions options;
    options.who = c.who(), options.why = why_;
    options.proofs = standing_proofs(c.entries(), ref.unit);
    options.session_establishment = c.fleet().ssh.timeouts.total();
    options.ledger_id = c.ledger().id();
    options.decided_before = true;
    std::vector<const Host*> all;
    for (const auto& l : looks) all.push_back(l.host);
    const auto plan = plan_of(c, ref.unit, all);
    Exit exit = Exit::done;
    Preflight preflight;
    for (bool again = true; again && !lines.empty();) {
      std::vector<HostLook> some;
      for (const auto& l : lines) some.push_back(*l.look);
      preflight = make_preflight(c.fleet(), plan, release, c.store(), some, options, c.now());
      again = leave_alone(c, preflight, lines, exit);
    }
    if (lines.empty()) return exit;
    report_findings(c, preflight);
    confirm(c, confirmation_, fmt::format("bring {} to {}@{}?", count_of(lines.size(), "host"), ref.unit, stable.version), true);

    std::map<std::string, ReleaseId> back;
    std::vector<HostLook> coming;
    for (const auto& l : lines)
      if (l.what == What::bring) coming.push_back(*l.look);
    if (const auto* before = standing.before()) back = stage_predecessor(c, ref, *before, coming, looks);
    auto spec = preflight.spec;
    make_convergence(spec, standing, lines, back);
    RunOptions run;
    run.seen = seen;
    auto ended = start_rollout(c, release, std::move(spec), highest_epoch(looks), run, packs.get());
    return worst(exit, ended);
  }

  // What speaks against one host does not hold up the others. True: some host went, look again.
  static bool leave_alone(Context& c, const Preflight& preflight, std::vector<ConvergeLine>& lines, Exit& exit) {
    bool any = false;
    for (const auto& f : preflight.findings) {
      if (!f.blocks || f.host.empty()) continue;
      auto gone = std::erase_if(lines, [&](const ConvergeLine& l) { return l.look->host->name == f.host; });
      if (gone == 0) continue;
      c.out().warn(fmt::format("{} is left alone: {}", f.host, f.what));
      exit = worst(exit, worst(f.exit == Exit::integrity ? Exit::integrity : Exit::unreachable, Exit::unreachable));
      any = true;
    }
    return any;
  }

  static std::int64_t highest_epoch(const std::vector<HostLook>& looks) {
    std::int64_t epoch = 0;
    for (const auto& l : looks)
      if (l.look) epoch = std::max(epoch, l.look->unit.epoch);
    return epoch;
  }

  Exit report(Context& c, Exit exit, std::size_t hosts, std::size_t brought) {
    auto book = debts_of(c);
    std::vector<Debt> left;
    for (const auto& d : book.owed)
      if ((!unit_ || d.unit == *unit_) && (selectors_.empty() || (c.fleet().find(d.host) && is_meant(*c.fleet().find(d.host))))) left.push_back(d);
    if (!left.empty() && !dry_run_) exit = worst(exit, Exit::unreachable);
    auto& out = c.out();
    if (!out.text()) {
      if (brought == 0 || out.format == Format::jsonl)
        out.print_json(json::object{{"kind", "converge.end"}, {"exit", static_cast<int>(exit)}, {"hosts", hosts}, {"brought", brought}, {"owed", debts_json(left)}});
      return exit;
    }
    if (left.empty() && brought == 0 && exit == Exit::done) out.print(fmt::format("nothing is owed: {} looked at", count_of(hosts, "host")));
    for (const auto& line : debt_lines(left)) out.note((dry_run_ ? "owed: " : "still owed: ") + line);
    return exit;
  }

  std::vector<std::string> words_;
  std::vector<Selector> selectors_;
  std::set<std::string> named_;
  std::optional<std::string> unit_;
  std::string why_;
  bool dry_run_ = false;
  Confirmation confirmation_;
};

}  // namespace

std::unique_ptr<Command> make_converge() { return std::make_unique<Converge>(); }

}  // namespace ripcord::cli
