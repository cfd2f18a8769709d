#include "plans/rollout/converge.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "manifests/shared/ledger_name.hpp"
#include "plans/hosts/lost_state.hpp"

namespace ripcord {
namespace {

using What = ConvergeLine::What;
constexpr Millis kLongestBake{10000};
constexpr int kFailures = 3;

// Of one host that answered.
class ConvergeJudge {
 public:
  ConvergeJudge(const HostLook& look, const ConvergeInput& in, const Debt* debt)
      : host_(look.host->name), look_(look), in_(in), standing_(in.book->units.at(in.unit)), o_(look.look->unit), debt_(debt) {
    if (auto by_host = in.book->intents.find(in.unit); by_host != in.book->intents.end())
      if (auto found = by_host->second.find(host_); found != by_host->second.end()) intent_ = &found->second;
    if (intent_) again_ = installed_again(*intent_, *look.look);
  }

  ConvergeLine line() const {
    if (debt_ && debt_->kind == Debt::Kind::left_out)
      return {&look_, What::left_alone, fmt::format("it is owed {0}@{1}, which is a rollout's business: `ripcord apply {0}@{1}` goes there in stages", in_.unit, debt_->version)};
    const bool there = o_.running && o_.running->manifest == standing_.now()->manifest && again_.empty();
    if (!debt_ && again_.empty()) return {&look_, What::well, there ? "" : elsewhere()};
    if (auto why = in_the_way(); !why.empty()) return {&look_, What::left_alone, why};
    return {&look_, there ? What::note : What::bring, !again_.empty() ? again_ : debt_->why, !again_.empty()};
  }

 private:
  // Not owed, and not on the release: by a decision, or it is drift.
  std::string elsewhere() const {
    if (!intent_ || intent_->standing != Intent::Standing::settled || (o_.running ? o_.running->folder() : "") == intent_->folder) return "";
    return fmt::format("it runs {}, and the ledger says {}: that is drift, see `ripcord drift`", o_.running ? o_.running->version : "nothing",
                       intent_->folder.empty() ? "nothing" : intent_->version());
  }

  std::string in_the_way() const {
    using Current = Observation::Current;
    if (auto lost = lost_state(o_.current, o_.link_target, o_.last_op.has_value(), {in_.unit, standing_.now()->root}, host_); !lost.empty()) return lost;
    if (o_.current == Current::folder) return "'current' is a real folder, not a link; move it away by hand first";
    if (o_.current == Current::broken || o_.current == Current::foreign_link)
      return fmt::format("'current' points at '{}', which nobody recorded{}; stop what runs there and remove the link, then converge again", o_.link_target,
                         again_.empty() ? "" : " (its state folder was emptied)");
    if (!o_.ledger_id.empty() && o_.ledger_id != in_.ledger_id)
      return fmt::format("its unit belongs to {}; take it over with `ripcord adopt {} {} -m WHY` first", ledger_text(o_.ledger_id), in_.unit, host_);
    if (o_.running && !standing_.recorded.contains(o_.running->manifest))
      return fmt::format("it runs {}@{} ({}), which this ledger never rolled out; `ripcord apply {}@{} --limit host={}` replaces it knowingly", in_.unit,
                         o_.running->version, o_.running->manifest.short_hex(), in_.unit, standing_.now()->version, host_);
    if (o_.tree_state == "damaged") return "its running release was changed, and is the way back; `ripcord drift repair` puts it right";
    if (!o_.last_op) return "";
    const auto phase = o_.last_op->phase;
    if (phase == OpPhase::intent || phase == OpPhase::activated || phase == OpPhase::reverting) return fmt::format("an operation of {} is under way on it", o_.last_op->rollout);
    if (phase == OpPhase::needs_operator && !in_.named.contains(host_))
      return fmt::format("it needs a person{}; once it was looked at, name it: `ripcord converge {} -m WHY`", o_.last_op->detail.empty() ? "" : ": " + o_.last_op->detail, host_);
    return "";
  }

  const std::string& host_;
  const HostLook& look_;
  const ConvergeInput& in_;
  const UnitStanding& standing_;
  const Observation& o_;
  const Debt* debt_;  // null: nothing is owed
  const Intent* intent_ = nullptr;
  std::string again_;
};

}  // namespace

std::vector<ConvergeLine> plan_convergence(const std::vector<HostLook>& looks, const ConvergeInput& in) {
  std::map<std::string, const Debt*> debts;
  for (const auto& d : in.book->owed)
    if (d.unit == in.unit) debts.emplace(d.host, &d);
  std::vector<ConvergeLine> lines;
  for (const auto& l : looks) {
    auto debt = debts.find(l.host->name);
    if (l.look) lines.push_back(ConvergeJudge(l, in, debt == debts.end() ? nullptr : debt->second).line());
    else lines.push_back({&l, What::silent, l.fault});
  }
  return lines;
}

Plan convergence_plan(Plan plan) {
  StagePlan stage = plan.stages.empty() ? StagePlan{} : plan.stages.back();
  stage.name = kConverge;
  stage.hosts = Selection{};
  stage.bake = std::min(stage.bake, kLongestBake);
  stage.approval = false;
  plan.stages = {std::move(stage)};
  plan.once.clear();
  plan.window.reset();
  plan.max_failures = {kFailures, false};
  plan.max_unreachable = {100, true};
  plan.rollback_on_failure = true;
  plan.completed_elsewhere.reset();
  return plan;
}

void join_decision(RolloutSpec& spec, const Stable& stable, const std::map<std::string, ReleaseId>& back) {
  for (auto& host : spec.hosts) {
    host.journalled_as = stable.journalled_as();
    auto found = back.find(host.name);
    // Where the cord has left the others it leaves this one, too.
    if (stable.by_cord) host.undo_to = host.to;
    else if (found != back.end() && host.from != found->second) host.undo_to = found->second;
  }
}

void make_convergence(RolloutSpec& spec, const UnitStanding& standing, const std::vector<ConvergeLine>& lines, const std::map<std::string, ReleaseId>& back) {
  const auto& stable = *standing.now();
  spec.purpose = kConverge;
  spec.left_out.clear();
  spec.no_return = stable.no_return;
  if (!spec.no_return.empty()) spec.rollback_on_failure = false;
  std::set<std::string> empty;
  for (const auto& l : lines)
    if (l.empty) empty.insert(l.look->host->name);
  join_decision(spec, stable, back);
  for (auto& host : spec.hosts) {
    if (empty.contains(host.name)) host.unchanged = false;
  }
}

}  // namespace ripcord
