#include <fmt/format.h>
#include <sys/stat.h>

#include <map>
#include <set>

#include "cli/command.hpp"
#include "cli/confirm.hpp"
#include "cli/halted.hpp"
#include "cli/rollout_run.hpp"
#include "cli/set_aside.hpp"
#include "cli/stage_predecessor.hpp"
#include "cli/target.hpp"
#include "cli/view/plan_words.hpp"
#include "cli/view/words.hpp"
#include "core/base/files.hpp"
#include "core/net/ledger_address.hpp"
#include "plans/ledger/history.hpp"
#include "plans/ledger/stable.hpp"
#include "plans/rollout/converge.hpp"
#include "plans/rollout/saved_plan.hpp"

namespace ripcord::cli {
namespace {

bool is_plan_file(const std::string& path) {
  struct stat s {};
  return ::stat(path.c_str(), &s) == 0 && S_ISREG(s.st_mode) && is_saved_plan(path);
}

class Apply : public Command {
 public:
  void declare(Arguments& a) override {
    a.positional("TARGET", target_, "UNIT, UNIT@VERSION, a unit folder, a release file or a saved plan");
    options_.declare(a);
    confirmation_.declare(a, true);
    a.flag("--detach", run_.detach, "go on in a process of its own that needs no terminal (exit 6); `status -w` follows it");
    a.flag("--no-wait", run_.no_wait, "leave at a bake, approval or window (exit 6); `resume --due` goes on");
  }

  Exit run(Context& c) override {
    options_.check();
    refuse_when_halted(c);
    (void)find_host_program();  // before anything else: without it no host can be reached
    if (is_plan_file(target_)) return saved(c);
    auto digest = resolve_release(c, target_, {options_.key});
    // Known before any host is asked, so that a second apply answers at once.
    auto release = load_release(c.store(), digest);
    refuse_open_rollouts(c, release.manifest.spec.unit, hosts_of_unit(c, release.manifest.spec));
    auto p = prepare(c, c.store(), digest, options_);
    return go(c, p, p.preflight.spec);
  }

 private:
  // The plan as it was saved, if every host still is what it was then.
  Exit saved(Context& c) {
    if (options_.hotfix || options_.outside_window || options_.limit || options_.plan_file || options_.unproven || options_.point_of_no_return ||
        options_.also_live)
      throw Error("a saved plan is applied as it was made: --plan, --limit and what overrides a rule belong to `ripcord plan`", {},
                  Exit::usage);
    auto plan = load_saved_plan(target_);
    if (plan.spec.fleet != c.fleet().name)
      throw Error(fmt::format("plan '{}' is for fleet '{}', and this is '{}'", target_, plan.spec.fleet, c.fleet().name),
                  "name the fleet's file with -f", Exit::refused);
    find_release(c.store(), plan.spec.unit, plan.spec.version);
    auto release = load_release(c.store(), plan.spec.manifest);
    refuse_open_rollouts(c, plan.spec.unit, hosts_of_unit(c, release.manifest.spec));
    PlanOptions options = options_;
    auto p = prepare(c, c.store(), plan.spec.manifest, options);
    auto changed = changed_since(plan, p.preflight);
    if (!changed.empty()) {
      for (std::size_t i = 1; i < changed.size(); ++i) c.out().warn(changed[i]);
      throw Error(fmt::format("the plan is stale: {}", changed[0]) +
                      (changed.size() > 1 ? fmt::format(" (and {})", count_of(changed.size() - 1, "more host")) : ""),
                  fmt::format("look again with `{}`; nothing was changed",
                              c.command(fmt::format("plan {}@{} --save FILE", plan.spec.unit, plan.spec.version))),
                  Exit::refused);
    }
    p.plan_name = target_;
    auto spec = plan.spec;
    spec.id = p.preflight.spec.id;  // one plan may be applied, taken back and applied again: each is its own rollout
    spec.who = c.who();
    spec.proofs = p.preflight.spec.proofs;  // those that stand now
    if (options_.message) spec.why = *options_.message;
    p.preflight.spec = spec;
    return go(c, p, spec);
  }

  Exit go(Context& c, const Prepared& p, RolloutSpec spec) {
    auto& out = c.out();
    // One that began while hosts were looked at: what they showed is its doing, and no reason of its own.
    refuse_open_rollouts(c, spec.unit, hosts_of_unit(c, p.release.manifest.spec));
    if (p.preflight.nothing_to_do && unrecorded(c, spec)) return write_down(c, p, std::move(spec));
    if (p.preflight.nothing_to_do) {
      auto text = fmt::format("nothing to do: {} run {}@{}", count_of(spec.hosts.size(), "host"), spec.unit, spec.version);
      if (out.text()) out.print(escape_terminal(text));
      else
        out.print_json(json::object{{"kind", "rollout.end"},
                                    {"exit", 0},
                                    {"nothing_to_do", true},
                                    {"verdict", text},
                                    {"unit", spec.unit},
                                    {"version", spec.version}});
      return Exit::done;
    }
    if (out.text() && !out.quiet)
      for (const auto& line : plan_lines(p.preflight, p.plan_name, c.now(), out.style)) out.print(line);
    report_findings(c, p.preflight);
    confirm(c, confirmation_, "roll out " + plan_in_short(p.preflight) + "?", true);
    if (out.text() && !out.quiet) out.print("");
    if (p.set_aside) set_aside_changed(c, p);
    join_standing(c, p, spec);
    run_.seen = p.seen;
    return start_rollout(c, p.release, std::move(spec), p.preflight.highest_epoch, run_);
  }

  // What the unit's hosts are meant to run already, once more: no decision of its own, or a rip cord would undo just this, and leave the others.
  static void join_standing(Context& c, const Prepared& p, RolloutSpec& spec) {
    if (!ledger_exists(c.fleet().ledger)) return;
    auto standings = fold_standing(c.entries());
    const auto& standing = standings[spec.unit];
    if (!standing.now() || standing.now()->manifest != spec.manifest) return;
    std::set<std::string> stay;
    for (const auto& h : spec.hosts)
      if (h.unchanged) stay.insert(h.name);
    std::vector<HostLook> coming;
    for (const auto& l : p.looks)
      if (l.look && !stay.contains(l.host->name)) coming.push_back(l);
    std::map<std::string, ReleaseId> back;
    if (const auto* before = standing.before()) back = stage_predecessor(c, spec.unit_ref(), *before, coming, p.looks);
    join_decision(spec, *standing.now(), back);
  }

  // Every host runs it, and the ledger does not know: it was lost, or is another one.
  bool unrecorded(Context& c, const RolloutSpec& spec) const {
    if (options_.limit || !ledger_exists(c.fleet().ledger)) return false;
    auto entries = c.entries();
    auto standing = fold_standing(entries);
    const auto* now = standing[spec.unit].now();
    return !now || now->manifest != spec.manifest || !lost_rollouts(entries, spec.unit).empty();
  }

  // A rollout that switches nobody, so nothing in it has to wait.
  Exit write_down(Context& c, const Prepared& p, RolloutSpec spec) {
    report_findings(c, p.preflight);
    c.out().note(escape_terminal(fmt::format("{} run {}@{} already, and the ledger does not know: it is written down", count_of(spec.hosts.size(), "host"), spec.unit, spec.version)));
    for (auto& stage : spec.stages) stage.approval = false;
    spec.once.clear();
    spec.window.reset();
    run_.seen = p.seen;
    return start_rollout(c, p.release, std::move(spec), p.preflight.highest_epoch, run_);
  }

  // Releases that somebody edited, on hosts that this rollout is about to change. One that stays damaged stops the rollout.
  static void set_aside_changed(Context& c, const Prepared& p) {
    std::vector<DamagedRelease> damaged;
    const auto& unit = p.release.manifest.spec;
    for (const auto& l : p.looks)
      if (l.look && l.look->unit.tree_state == "damaged" && l.look->unit.running) damaged.push_back({l.host->name, {unit.unit, unit.root}, *l.look->unit.running});
    auto failed = set_aside(c, damaged);
    if (!failed.empty())
      throw Error(fmt::format("the running release could not be put right on {}", compress_hosts(failed)),
                  "nothing was switched; `ripcord drift` says what is wrong there, and --limit leaves hosts out", Exit::refused);
  }

  std::string target_;
  PlanOptions options_;
  Confirmation confirmation_;
  RunOptions run_;
};

}  // namespace

std::unique_ptr<Command> make_apply() { return std::make_unique<Apply>(); }

}  // namespace ripcord::cli
