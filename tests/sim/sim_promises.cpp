// What is promised in every world, checked where it happens: at each change of a host, at each entry, and at the end.
#include <fmt/format.h>

#include <algorithm>

#include "plans/ledger/history.hpp"
#include "tests/sim/sim_world.hpp"

namespace ripcord::test {
namespace {

constexpr Millis kHaltHeard{2000};

}  // namespace

void SimWorld::on_switched(const SimHost& host, const OpState& op, const std::string&) {
  if (host.switches.at(op.op) > 1) broken(fmt::format("{} was switched twice by operation {}", host.name, op.op));
  bool cord = op.rollout.starts_with("rb-");
  if (!cord && !intents_.contains(op.op)) broken(fmt::format("{} was switched by {}, which no entry intends", host.name, op.op));
  if (cord) cord_epoch_[host.name] = op.epoch;
  auto pulled = cord_epoch_.find(host.name);
  if (op.forward && pulled != cord_epoch_.end() && op.epoch <= pulled->second)
    broken(fmt::format("{} went forward with epoch {} after a rip cord of epoch {}", host.name, op.epoch, pulled->second));
}

void SimWorld::on_state(const SimHost& host, const OpState& op) {
  if (op.phase == OpPhase::reverted) hit(SimTotals::dead_man_fired);
  auto& open = open_[static_cast<std::size_t>(stage_of_.at(host.name))];
  if (host.open == 0 || !honest(host)) {
    open.erase(&host);
    return;
  }
  open.insert(&host);
  auto width = spec_.stages[static_cast<std::size_t>(stage_of_.at(host.name))].max_parallel;
  // One without power serves nobody, and goes back when it boots; nobody waits for that.
  auto lit = std::count_if(open.begin(), open.end(), [](const SimHost* h) { return !h->dark; });
  if (lit > width)
    broken(fmt::format("{} hosts of stage {} are activated and not confirmed, and max_parallel is {}", lit, stage_of_.at(host.name), width));
  const auto& stage = spec_.stages[static_cast<std::size_t>(stage_of_.at(host.name))];
  if (stage.max_unavailable == 0) return;
  auto down = std::count_if(open.begin(), open.end(), [&](const SimHost* h) { return !h->dark && rack_of_.at(h->name) == rack_of_.at(host.name); });
  if (down == stage.max_unavailable) hit(SimTotals::domain_full);
  if (down > stage.max_unavailable)
    broken(fmt::format("{} hosts of {} are activated and not confirmed in stage {}, and max_unavailable is {}", down, rack_of_.at(host.name), stage.name, stage.max_unavailable));
}

void SimWorld::on_append(const LedgerEntry& e) {
  ++totals_.entries;
  const auto kind = get_string(e.body, "kind");
  if (kind == "host.intent") {
    intents_.insert(get_string(e.body, "op"));
    if (halted_at_ && get_bool(e.body, "forward") && clock_.elapsed() > *halted_at_ + kHaltHeard) broken(fmt::format("entry {} goes forward in a fleet that was halted", e.seq));
  }
  const auto epoch = get_int_or(e.body, "epoch", -1);
  const bool cords = e.body.contains("rollback");  // needs no lease
  if (!cords && epoch >= 0 && epoch < memory_.epochs[spec_.unit]) broken(fmt::format("entry {} ({}) was written with epoch {}, and the lease has {}", e.seq, kind, epoch, memory_.epochs[spec_.unit]));
  if (!cords && kind.starts_with("host.") && get_string_or(e.body, "rollout", "") == spec_.id && over_) broken(fmt::format("entry {} ({}) came after the rollout had ended", e.seq, kind));
  if (kind == "rollout.ended" && epoch >= 0) over_ = true;  // by its own controller, who knows that nothing is under way
  auto about = hosts_->hosts().find(get_string_or(e.body, "host", ""));
  if (about != hosts_->hosts().end() && honest(*about->second) && about->second->epoch <= epoch) {
    const auto& host = *about->second;
    if (kind == "host.confirmed") {
      auto op = host.ops.find(get_string(e.body, "op"));
      if (op == host.ops.end() || op->second.phase != OpPhase::confirmed || host.running != op->second.to)
        broken(fmt::format("entry {} says that {} is confirmed, and it is {} and runs {}", e.seq, host.name, op == host.ops.end() ? "nowhere" : to_text(op->second.phase),
                           host.running ? host.running->version : "nothing"));
    }
    if (kind == "host.returned" && host.running != spec_.hosts[static_cast<std::size_t>(std::find(names_.begin(), names_.end(), host.name) - names_.begin())].from)
      broken(fmt::format("entry {} says that {} has returned, and it has not", e.seq, host.name));
  }
  ++appends_;
  if (kill_after_ >= 0 && appends_ > kill_after_) dead_ = true;
  // The entry is there, and the answer is not: what a database does when it fails over in the middle of a COMMIT.
  if (fail_after_ >= 0 && appends_ > fail_after_ && appends_ <= fail_after_ + 2 && epoch >= 0) {
    hit(SimTotals::ledger_failed);
    throw Error("the connection to the ledger was lost");
  }
}

void SimWorld::check_end() {
  // Whatever happened to controllers: hosts that nobody confirmed have gone back by themselves, hosts without power once they booted.
  clock_.advance(spec_.confirm_within + Millis(180000));
  hosts_->pass_time();
  for (const auto& [name, h] : hosts_->hosts()) {
    if (h->dark) continue;
    if (h->open > 0 && honest(*h)) broken(fmt::format("{} is still activated and not confirmed after its deadline", name));
    if (h->boots > 0) hit(SimTotals::host_booted);
    if (h->lied) hit(SimTotals::host_lied);
  }
  for (const auto& [name, h] : hosts_->hosts())
    if (h->cut || h->boots > 0) hit(SimTotals::host_died);
  auto state = fold_rollout(memory_.entries, spec_.id);
  if (!state) return;
  if (seed_ % 16 == 0 && find_broken_link(memory_.entries, Digest{})) broken("the ledger's chain is broken");
  std::set<std::string> owed;
  for (const auto& e : memory_.entries)
    if (get_string(e.body, "kind") == "rollout.ended")
      if (const auto* list = find_array(e.body, "owed"))
        for (const auto& name : *list) owed.insert(std::string(name.as_string()));
  const bool cord = !cord_epoch_.empty();
  auto runs = [&](const HostPlan& plan, const std::optional<ReleaseId>& what) { return hosts_->host(plan.name).running == what; };
  switch (state->ending) {
    case Ending::completed:
      hit(owed.empty() ? SimTotals::completed : SimTotals::owed);
      if ((state->exit_code == 0) != owed.empty()) broken(fmt::format("exit code {} with {} hosts owed", state->exit_code, owed.size()));
      for (const auto& plan : spec_.hosts)
        if (!cord && honest(hosts_->host(plan.name)) && !owed.contains(plan.name) && !runs(plan, plan.to))
          broken(fmt::format("completed, and {} neither runs it nor is owed", plan.name));
      break;
    case Ending::rolled_back:
      hit(SimTotals::went_back);
      for (const auto& plan : spec_.hosts) {
        const auto& h = hosts_->host(plan.name);
        if (honest(h) && !h.dark && !runs(plan, plan.from)) broken(fmt::format("rolled back, and {} does not run what it ran before", plan.name));
      }
      break;
    case Ending::open: hit(SimTotals::paused); break;
    default:
      hit(SimTotals::needs_person);
      if (state->exit_code == 0 || state->exit_code == 3) broken(fmt::format("needs a person, with exit code {}", state->exit_code));
  }
  if (!state->distrusted.empty()) hit(SimTotals::distrusted);
}

}  // namespace ripcord::test
