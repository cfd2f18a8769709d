// a0 to a7, forward (INVARIANTS, "Activation on a host"; docs/activation.md). Going back is go_back.cpp.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "manifests/host/admission.hpp"
#include "manifests/host/bring_up.hpp"
#include "manifests/host/deadman.hpp"
#include "manifests/host/drain.hpp"
#include "manifests/host/halt.hpp"
#include "manifests/host/operation.hpp"
#include "manifests/host/revert.hpp"
#include "manifests/host/switch_link.hpp"

namespace ripcord {
namespace {

constexpr Millis kLockWait{20000};
constexpr Millis kTurnWait{60000};
constexpr std::int64_t kUnarmed = -1;  // confirm_within_ms of a forward operation past a point of no return

using Context = std::optional<ReleaseContext>;

void check_request(const HostContext& host, const ActivateRequest& r) {
  if (host.read_only) throw HostFailure("read_only", "this session may only read");
  check_operation_id(r.op);
  if (r.forward && !r.to) throw HostFailure("bad_request", "a forward operation needs a release to go to");
  if (r.forward && r.confirm_within_ms <= 0 && r.confirm_within_ms != kUnarmed)
    throw HostFailure("bad_request", "a forward operation needs confirm_within_ms");
  if (r.spread_ms < 0) throw HostFailure("bad_request", "spread_ms is negative");
}

class Forward {
 public:
  Forward(HostContext& host, const ActivateRequest& request) : host_(host), r_(request), unit_(host.layout.unit(request.unit)) {}

  ActivateReply run() {
    lock_.emplace(host_, unit_, "activate " + r_.op, kLockWait);
    read_and_admit();
    if (const Operation* known = history_.find(r_.op)) {
      reply_.state = state_of(*known, host_);
      return reply_;
    }
    if (const Operation* open = history_.open()) {
      end_open(host_, unit_, *lock_, *open, r_.op);
      read_and_admit();
    }
    prepare();
    if (!drain_and_spread()) return reply_;
    try {
      arm_and_switch();
    } catch (const Error&) {
      give_up();
      throw;
    }
    lock_.reset();
    restart_and_watch();
    return reply_;
  }

 private:
  void read_and_admit() {
    journal_.emplace(unit_);
    admit(host_, *lock_, *journal_, r_.epoch, r_.holder, r_.ledger_id, true);
    history_ = fold(journal_->records());
  }

  // Everything that can be refused before anything is touched.
  void prepare() {
    ForwardGate{host_};  // looked at again where it counts, in arm_and_switch
    if (r_.demand_strong && deadman_strength(host_) != "strong")
      throw HostFailure("weak_deadman", "the plan demands a strong dead-man switch, and this host has no init system that could hold it",
                        "systemd and root make it strong");
    CurrentLink current = read_current(unit_);
    require_from(unit_, r_, current);
    require_recorded(unit_, current, history_);
    coming_ = ReleaseContext::load(host_, unit_, *r_.to, history_);
    require_intact(host_, unit_, *lock_, coming_->release);
    if (r_.from) {
      running_ = ReleaseContext::load(host_, unit_, *r_.from, history_);
      require_intact(host_, unit_, *lock_, running_->release);
    } else if (current.kind == Observation::Current::none) {
      auto what = running_already(*coming_);
      if (!what && history_.order.empty()) what = left_running(unit_);  // after a state folder that was emptied
      if (what)
        throw HostFailure("running_without_release", fmt::format("unit '{}' has no release here, but {}", unit_.unit, *what),
                          "stop it first, or take it over with 'import'");
    }
    plan_placed(running(), &*coming_, history_);  // refuses foreign files before the host is drained
  }

  // False: drain failed, the reply says how. Nothing is armed yet, so the lock is free while we wait.
  bool drain_and_spread() {
    bool drains = running_ && running_->spec.drain;
    if (!drains && r_.spread_ms == 0) return true;
    if (drains) {
      Elapsed begin = boot_now();
      note_drained(host_, unit_, r_.op);
      StepOutcome drained = run_action(*running_, *running_->spec.drain, "drain", StepGate(host_, unit_, *lock_));
      reply_.step_ms["drain"] = (boot_now() - begin).count();
      if (!drained.ok) {
        reply_.state = OpState{.op = r_.op, .rollout = r_.rollout, .from = r_.from, .to = r_.to};
        reply_.failed_step = "drain";
        reply_.output = drained.output;
        reply_.log_tail = log_tails(*running_, kLogLines);
        clean_up(host_, unit_, *lock_);
        return false;
      }
      host_.event("drained");
    }
    std::size_t before = history_.order.size();
    lock_.reset();
    bool gone = !wait_spread();
    lock_.emplace(host_, unit_, "activate " + r_.op, kLockWait);
    try {
      if (gone) throw HostFailure("cancelled", "the controller hung up before anything was switched");
      read_and_admit();
      if (history_.order.size() != before)
        throw HostFailure("conflict", fmt::format("operation '{}' came in between", history_.order.back()), "plan again");
      require_from(unit_, r_, read_current(unit_));
    } catch (const Error&) {
      clean_up(host_, unit_, *lock_);
      throw;
    }
    return true;
  }

  bool wait_spread() {
    for (Elapsed end = boot_now() + Millis(r_.spread_ms); boot_now() < end;) {
      if (host_.peer_gone()) return false;
      ::usleep(static_cast<useconds_t>(std::clamp<std::int64_t>((end - boot_now()).count(), 1, 50) * 1000));
    }
    return !host_.peer_gone();
  }

  void arm_and_switch() {
    Elapsed begin = boot_now();
    ForwardGate gate(host_);  // until the switch is journalled: a halt waits for those who are here
    journal_.emplace(unit_);  // putting a release right has journalled, too
    placed_ = plan_placed(running(), &*coming_, history_);
    journal_->reserve(host_, *lock_);
    journal_->append(host_, *lock_, "INTENT", intent_of(r_, unit_.current, placed_));  // a2

    Pending pending;  // a3
    pending.op = r_.op;
    pending.boot = host_.boot_id;
    pending.files = ways_of(placed_);
    if (auto target = read_link(unit_.current)) {
      pending.back = *target;
      make_link(back_link(unit_, r_.op), *target);
    }
    make_link(next_link(unit_, r_.op), UnitLayout::link_target(r_.to->folder()));
    reserve_hook(unit_);
    if (running_) reserve_services(*running_);
    reserve_services(*coming_);
    if (running_) reply_.kept = keep_edited(placed_, *running_);
    prepare_placed(placed_, &*coming_, true);
    fsync_dir(unit_.unit_root);
    pending.deadline = host_.elapsed() + Millis(r_.confirm_within_ms);
    arm(host_, unit_, pending);
    journal_->append(host_, *lock_, "ARMED", {{"op", r_.op}, {"strength", pending.strength}, {"deadline_us", pending.deadline.us}});
    reply_.step_ms["arm"] = (boot_now() - begin).count();
    host_.event("armed");

    begin = boot_now();  // a4, a5
    require_from(unit_, r_, read_current(unit_));
    switch_started_ = true;
    rename_to_current(unit_, next_link(unit_, r_.op));
    switch_placed(placed_);
    switched_at_ = process_start_now();
    journal_->append(host_, *lock_, "ACTIVATED", {{"op", r_.op}, {"elapsed_us", boot_now().us}});
    reply_.switched = true;
    reply_.step_ms["switch"] = (boot_now() - begin).count();
    host_.event("activated");
  }

  // Before the switch: nothing has changed, and the journal says so. Once it may have begun, the dead-man decides.
  void give_up() {
    if (switch_started_ && read_current(unit_).release == r_.to) return;
    try {
      if (fold(Journal(unit_).records()).find(r_.op)) revert(host_, unit_, *lock_, r_.op, "it could not be armed and switched");
      else clean_up(host_, unit_, *lock_);
      forget_prepared(placed_);
      ::unlink(back_link(unit_, r_.op).c_str());
      ::unlink(next_link(unit_, r_.op).c_str());
    } catch (const Error&) {  // the first error says more; recover() ends the operation
    }
  }

  void restart_and_watch() {
    StepTurn turn(unit_, kTurnWait);
    RunningRule rule{switched_at_, true};
    bool restart = !turn.waited() || !proven_running(*coming_, rule);
    BringUp what{running(), &*coming_, SwitchManner::forward, rule, restart};
    reply_.state = operation_state(host_, r_.unit, r_.op);
    bring_up(what, StepGate(host_, unit_, r_.op), reply_);
    reply_.state = operation_state(host_, r_.unit, r_.op);
  }

  const ReleaseContext* running() const { return running_ ? &*running_ : nullptr; }

  HostContext& host_;
  const ActivateRequest& r_;
  UnitLayout unit_;
  std::optional<UnitLock> lock_;
  std::optional<Journal> journal_;
  UnitHistory history_;
  Context running_, coming_;
  std::vector<Placement> placed_;
  bool switch_started_ = false;
  std::uint64_t switched_at_ = 0;
  ActivateReply reply_;
};

}  // namespace

ActivateReply activate(HostContext& host, const ActivateRequest& request) {
  check_request(host, request);
  if (!request.forward) return go_back(host, request, false);
  if (request.confirm_within_ms != kUnarmed) return Forward(host, request).run();
  ActivateRequest onward = request;
  onward.forward = false;  // in the journal, too: no rip cord without a target takes it back
  return go_back(host, onward, true);
}

ActivateReply finish(HostContext& host, const UnitRef& ref, const std::string& op) {
  if (host.read_only) throw HostFailure("read_only", "this session may only read");
  check_operation_id(op);
  UnitLayout unit = host.layout.unit(ref);
  ActivateReply reply;
  std::optional<StepTurn> turn;
  Context running, coming;
  RunningRule rule;
  turn.emplace(unit, kTurnWait);
  {
    UnitLock lock(host, unit, "finish " + op, kLockWait);
    Journal journal(unit);
    UnitHistory history = fold(journal.records());
    const Operation* found = history.find(op);
    reply.state = found ? state_of(*found, host) : OpState{.op = op};
    if (!found || !found->state.forward || found->state.phase != OpPhase::activated || !why_overdue(host, unit, *found).empty())
      return reply;
    coming = ReleaseContext::load(host, unit, *found->state.to, history);
    if (found->state.from) running = ReleaseContext::load(host, unit, *found->state.from, history);
    rule = rule_of(host, journal.records(), history, *coming);
  }
  bool restart = !proven_running(*coming, rule);
  bring_up({running ? &*running : nullptr, &*coming, SwitchManner::forward, rule, restart}, StepGate(host, unit, op), reply);
  reply.state = operation_state(host, ref, op);
  return reply;
}

}  // namespace ripcord
