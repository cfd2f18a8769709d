#include "plans/rollout/preflight.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "manifests/shared/ledger_name.hpp"
#include "plans/hosts/lost_state.hpp"
#include "plans/files/host_label.hpp"
#include "plans/rollout/change_groups.hpp"
#include "plans/rollout/rehearsal.hpp"
#include "plans/rollout/ways_back.hpp"

namespace ripcord {
namespace {

std::string fingerprint(const Look& look) {
  const auto& o = look.unit;
  return fmt::format("{} {} {}", o.running ? o.running->folder() : std::string(to_text(o.current)) + ":" + o.link_target, o.journal_seq, o.journal_hash);
}

// Everything make_preflight builds, and the questions it answers one by one.
struct Builder {
  const Fleet& fleet;
  const Plan& plan;
  const ReleaseOnHand& release;
  const ReleaseStore& store;
  const std::vector<HostLook>& looks;
  const PreflightOptions& options;
  WallTime now;
  TreeMaker trees{release, store};
  std::map<std::string, const HostLook*> by_name{};
  std::map<std::string, const Tree*> wanted{};
  std::vector<int> stage_of_{};  // the plan's stage of each stage of the rollout
  Preflight out{};

  void find(std::string host, std::string what, bool blocks, Exit exit = Exit::refused) {
    out.findings.push_back({std::move(host), std::move(what), blocks, exit});
  }

  // Faults that no budget covers: wrong host keys, broken credentials, a link nobody can activate over.
  void judge(const HostLook& l) {
    const auto& name = l.host->name;
    if (!l.look) {
      auto text = l.fault + (l.hint.empty() ? "" : "; " + l.hint);
      if (l.fault_kind == LinkFault::trust) find(name, text, true, Exit::integrity);
      else if (l.fault_kind == LinkFault::ours) find(name, text, true, Exit::error);
      else find(name, text, false, Exit::unreachable);
      return;
    }
    const auto& o = l.look->unit;
    out.highest_epoch = std::max(out.highest_epoch, o.epoch);
    out.observed[name] = fingerprint(*l.look);
    if (o.current == Observation::Current::folder)
      find(name, "'current' is a real folder, not a link: ripcord would have to move it away; move it by hand or bring it under ripcord first", true);
    if (auto lost = lost_state(o.current, o.link_target, o.last_op.has_value(), out.spec.unit_ref(), name); !lost.empty()) find(name, lost, true);
    if (o.current == Observation::Current::broken) find(name, fmt::format("'current' points at '{}', which is not there", o.link_target), true);
    if (o.tree_state == "damaged") {
      std::string first = o.findings.empty() ? "" : fmt::format(": {} '{}'", o.findings[0].kind, o.findings[0].path);
      find(name,
           plan.set_aside_drift ? fmt::format("the running release {} was changed{}; it is set aside as evidence, and whole again before anything is switched",
                                              o.running ? o.running->folder() : "", first)
                                : fmt::format("the running release {} is damaged, and it is the way back{}; `ripcord drift repair` puts it right, and "
                                              "`on_drift: set_aside` in the plan would",
                                              o.running ? o.running->folder() : "", first),
           !plan.set_aside_drift);
    }
    if (const auto& halt = l.look->hello.halted)
      find(name, fmt::format("it is {}; it takes nothing new until `ripcord unhalt -m WHY` has reached it", halt->text()), true, Exit::held);
    if (l.look->hello.trust == "required" && release.sealed.signature.empty())
      find(name, "the host takes only signed releases, and this one is not signed; seal it with --key", true, Exit::integrity);
    if (options.ledger_id && !o.ledger_id.empty() && o.ledger_id != *options.ledger_id)
      find(name, fmt::format("unit '{}' of this host belongs to {}, and here is {}; deploy from there (`ledger:` in the fleet file), or take it over "
                             "with `ripcord adopt {} -m WHY`",
                             release.manifest.spec.unit, ledger_text(o.ledger_id), options.ledger_id->empty() ? "none yet" : ledger_text(*options.ledger_id),
                             release.manifest.spec.unit),
           true, Exit::held);
    if (plan.demand_strong_deadman && l.look->hello.deadman != "strong")
      find(name, "the plan demands a strong dead-man switch, and this host has a weak one (no systemd)", true);
    auto skew = l.look->hello.wall_ms - now.ms;
    if (skew > 60000 || skew < -60000) find(name, fmt::format("its clock is off by {}", format_duration(Millis(skew < 0 ? -skew : skew))), false);
  }

  bool unchanged(const HostLook& l, const Tree& tree) const {
    const auto& o = l.look->unit;
    return o.running && o.running->tree == tree.digest && o.running->manifest == release.digest && o.tree_state != "damaged" &&
           !(o.last_op && (o.last_op->phase == OpPhase::activated || o.last_op->phase == OpPhase::intent || o.last_op->phase == OpPhase::reverting)) &&
           (o.process_ok || release.manifest.spec.services.empty());
  }

  // A host that takes no part, unless it runs the release already: it stays owed, by name.
  void leave_out(const Host& host, const std::string& why) {
    const auto& l = *by_name.at(host.name);
    try {
      if (l.look && unchanged(l, trees.tree_for(host, l.look->hello.arch))) return;
    } catch (const Error&) {  // its labels do not fit the release, which is not for this rollout to say
    }
    out.spec.left_out.push_back({host.name, why, 0});
  }

  void assign() {
    // Hosts that did not answer are tried again in the last stage: a canary that nobody can reach proves nothing.
    std::vector<const Host*> present, away;
    for (const auto& l : looks) {
      bool selected = !options.limit || options.limit->matches(l.host->labels);
      (l.look && selected ? present : away).push_back(l.host);
      by_name[l.host->name] = &l;
    }
    std::erase_if(away, [&](const Host* h) { return options.limit && !options.limit->matches(h->labels); });
    out.spec.left_out = options.left_out;
    for (const auto& l : looks)
      if (options.limit && !options.limit->matches(l.host->labels)) leave_out(*l.host, "left out by --limit " + options.limit->text());
    auto stages = assign_stages(plan, present);
    std::set<const Host*> taken;
    for (const auto& stage : stages) taken.insert(stage.begin(), stage.end());
    for (const auto* h : present)
      if (!taken.contains(h)) leave_out(*h, fmt::format("no stage of plan '{}' takes it", plan.name));
    std::map<std::string, Digest> runs;
    for (const auto* h : present)
      if (const auto& running = by_name.at(h->name)->look->unit.running) runs[h->name] = running->manifest;
    bring_rehearsers_forward(stages, runs, release.digest);
    auto& spec = out.spec;
    std::map<std::string, int> domain_size;
    for (std::size_t i = 0; i < plan.stages.size(); ++i) {
      const auto& sp = plan.stages[i];
      bool last = i + 1 == plan.stages.size();
      auto hosts = stages[i];
      if (last) hosts.insert(hosts.end(), away.begin(), away.end());
      if (hosts.empty()) continue;
      stage_of_.push_back(static_cast<int>(i));
      StageSpec stage;
      stage.name = sp.name;
      stage.max_parallel = std::max(1, sp.max_parallel.of(static_cast<int>(hosts.size())));
      stage.slow_start = sp.slow_start;
      stage.bake = options.hotfix ? std::min(sp.bake, plan.hotfix_bake) : sp.bake;
      stage.approval = sp.approval;
      const std::string label = sp.max_unavailable ? sp.max_unavailable->label : "";
      if (sp.max_unavailable) {
        domain_size.clear();
        for (const auto* h : fleet.hosts.empty() ? std::vector<const Host*>{} : present) ++domain_size[label_of(*h, label)];
        int smallest = static_cast<int>(present.size());
        for (const auto& [value, n] : domain_size) smallest = std::min(smallest, n);
        stage.max_unavailable = std::max(1, sp.max_unavailable->amount.of(smallest));
      }
      int index = static_cast<int>(spec.stages.size());
      spec.stages.push_back(stage);
      for (const auto* h : hosts) add_host(*h, index, label);
    }
  }

  void add_host(const Host& host, int stage, const std::string& label) {
    const HostLook& l = *by_name.at(host.name);
    HostPlan h;
    h.name = host.name;
    h.datacenter = host.datacenter;
    h.domain = label_of(host, label);
    h.stage = stage;
    h.away = !l.look;
    const Tree& tree = trees.tree_for(host, l.look ? l.look->hello.arch : "x86_64");
    wanted[host.name] = &tree;
    h.to = {release.manifest.spec.version, release.digest, tree.digest};
    if (l.look) {
      h.from = l.look->unit.running;
      h.host_id = l.look->hello.host_id;
      h.unchanged = unchanged(l, tree);
    }
    out.spec.hosts.push_back(std::move(h));
  }

  void judge_contract() {
    if (options.decided_before) return;
    std::map<std::string, std::size_t> running;
    for (const auto& l : looks)
      if (l.look && l.look->unit.running) ++running[l.look->unit.running->version];
    for (auto& f : check_contract(options.contract, release.manifest.spec, running, out.spec.no_return)) find("", std::move(f.what), f.blocks);
    if (!out.spec.no_return.empty()) out.spec.rollback_on_failure = false;
  }

  // Stages that take no host are left out of the rollout: what is to happen before one of them happens before the next.
  void plan_once() {
    for (auto once : plan.once) {
      auto next = std::find_if(stage_of_.begin(), stage_of_.end(), [&](int planned) { return planned >= once.stage; });
      if (next == stage_of_.end()) {
        find("", fmt::format("`{}` is not run: no stage from '{}' on takes a host", once.text(), once.before), false);
        continue;
      }
      once.stage = static_cast<int>(next - stage_of_.begin());
      out.spec.once.push_back(std::move(once));
    }
  }

  // A guess for people: each host takes its restart and min_healthy_time, hosts in parallel as the stage allows, and the bakes.
  void estimate() {
    std::vector<int> changes(out.spec.stages.size());
    for (const auto& h : out.spec.hosts) changes[static_cast<std::size_t>(h.stage)] += !h.unchanged;
    Millis one = release.manifest.spec.health.checks.empty() ? Millis(500) : release.manifest.spec.health.min_healthy_time + Millis(1000);
    for (std::size_t i = 0; i < changes.size(); ++i) {
      const auto& s = out.spec.stages[i];
      if (changes[i] == 0) continue;
      int rounds = 0, width = s.slow_start ? 1 : s.max_parallel;
      for (int left = changes[i]; left > 0; left -= width, width = std::min(width * 2, s.max_parallel)) ++rounds;
      out.estimated += one * rounds + s.bake;
    }
    // Back and forward again; walks of different releases run side by side.
    bool walks = std::any_of(out.ways_back.begin(), out.ways_back.end(), [](const WayBack& w) { return !w.proof && !w.waived; });
    if (walks) out.estimated += one * 2;
  }

  Preflight build() {
    auto& spec = out.spec;
    const auto& unit = release.manifest.spec;
    spec.id = new_rollout_id(now);
    spec.fleet = fleet.name;
    spec.unit = unit.unit;
    spec.version = unit.version;
    spec.root = unit.root;
    spec.carried_by = unit.hosts;
    spec.manifest = release.digest;
    spec.window = plan.window;
    spec.outside_window = options.outside_window;
    spec.progress_deadline = plan.progress_deadline;
    spec.rollback_on_failure = plan.rollback_on_failure;
    spec.demand_strong_deadman = plan.demand_strong_deadman;
    spec.hotfix = options.hotfix;
    spec.spread = plan.spread;
    spec.confirm_within = activation_bound(unit, options.session_establishment);
    spec.who = options.who;
    spec.why = options.why;
    for (const auto& l : looks) judge(l);
    assign();
    int total = static_cast<int>(spec.hosts.size());
    spec.max_failures = std::max(1, plan.max_failures.of(total));
    spec.max_unreachable = plan.max_unreachable.of(total);
    int away = static_cast<int>(std::count_if(spec.hosts.begin(), spec.hosts.end(), [](const HostPlan& h) { return h.away; }));
    if (away == total && total > 0)  // a rollout that reaches nobody would be completed at once, and owe everybody
      find("", total == 1 ? "the only host cannot be reached" : fmt::format("none of the {} hosts can be reached", total), true, Exit::unreachable);
    else if (away > spec.max_unreachable)
      find("", fmt::format("{} of {} hosts cannot be reached, and max_unreachable comes to {}", away, total, spec.max_unreachable), true, Exit::unreachable);
    group_changes(out, release, store, by_name, wanted);
    spec.proof_valid = plan.proof_expires;
    judge_contract();
    plan_once();
    judge_ways_back(out, fleet, plan, release, options, now);
    estimate();
    out.nothing_to_do = away == 0 && std::all_of(spec.hosts.begin(), spec.hosts.end(), [](const HostPlan& h) { return h.unchanged; });
    return std::move(out);
  }
};

}  // namespace

Preflight make_preflight(const Fleet& fleet, const Plan& plan, const ReleaseOnHand& release, const ReleaseStore& store,
                         const std::vector<HostLook>& looks, const PreflightOptions& options, WallTime now) {
  Builder builder{fleet, plan, release, store, looks, options, now};
  return builder.build();
}

}  // namespace ripcord
