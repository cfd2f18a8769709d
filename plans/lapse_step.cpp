// The dead-man drill on one host: it comes forward armed, nobody confirms, and nobody comes near it until it must have gone back. Then
// one look tells whether it did so by itself: a helper that starts would do an overdue way back itself, so what counts is when.
#include <fmt/format.h>

#include "plans/host_steps.hpp"

namespace ripcord {
namespace {

constexpr Millis kPromised{5000};   // INVARIANTS 5: back by T + 5 s
constexpr Millis kUntouched{1500};  // and nobody has asked for so long since
constexpr Millis kPause{1000};
constexpr int kLooks = 60;          // health of the old release may take as long as it takes

StepResult of(const StepContext& c, std::string_view kind, std::string reason) {
  StepResult r;
  r.entry = {{"kind", kind}, {"host", c.plan.name}, {"op", c.op}, {"rehearsal", true}, {"from", c.plan.from->manifest.hex()}, {"to", c.plan.to.manifest.hex()}};
  if (!reason.empty()) r.entry["reason"] = std::move(reason);
  return r;
}

}  // namespace

Task<StepResult> lapse_step(StepContext c, bool under_way) {
  const Elapsed begun = c.clock.elapsed();
  if (!under_way) {
    std::optional<HostRefusal> refusal;
    bool ours = false;
    std::string why;
    try {
      ActivateRequest request;
      request.unit = c.spec.unit_ref();
      request.op = c.op;
      request.rollout = c.plan.journalled_as.empty() ? c.spec.id : c.plan.journalled_as;
      request.from = c.plan.from;
      request.to = c.plan.to;
      request.epoch = c.epoch;
      request.holder = c.holder;
      request.ledger_id = c.ledger_id;
      request.who = c.spec.who;
      request.why = c.spec.why;
      request.confirm_within_ms = c.spec.lapse_within.count();
      std::function<void(std::string)> on_step = c.on_step;
      (void)co_await c.port.activate(std::move(request), c.spec.lapse_within + kPromised, std::move(on_step));
    } catch (const LinkError& e) {
      ours = e.fault() == LinkFault::ours;
      why = e.message();  // what the host did its journal tells, later
    } catch (const HostRefusal& e) {
      refusal = e;
    }
    if (ours) co_return StepResult{{}, true, false, why};
    if (refusal && refusal->code() == "fenced") co_return StepResult{{}, false, true, refusal->message()};
    if (refusal && refusal->code() == "halted") {
      StepResult r = of(c, "host.staged", refusal->message());
      r.halted = true;
      r.why = c.plan.name + ": " + refusal->message();
      co_return r;
    }
    if (refusal) {
      StepResult r = of(c, "host.failed", refusal->message());
      r.entry["switched"] = false;
      co_return r;
    }
  }
  c.port.hang_up();
  co_await sleep_until(c.clock, begun + c.spec.lapse_within + kPromised + kUntouched);
  std::string silence;
  std::optional<bool> by_itself;
  for (int left = kLooks; left > 0; --left) {
    std::optional<Look> look;
    OpState mine;
    bool ours = false;
    try {
      look = co_await c.port.look(c.spec.unit_ref(), Verify::full, true);
      mine = co_await c.port.state(c.spec.unit_ref(), c.op);
    } catch (const LinkError& e) {
      silence = e.message();
      ours = e.fault() == LinkFault::ours;
    } catch (const HostRefusal& e) {
      silence = e.message();
    }
    if (ours) co_return StepResult{{}, true, false, silence};
    if (look) {
      const auto& o = look->unit;
      if (mine.phase == OpPhase::none) co_return of(c, "host.staged", "the operation never reached the host");
      if (!o.last_op || o.last_op->op != c.op) co_return of(c, "host.stuck", "another operation came after that of the drill");
      const auto phase = o.last_op->phase;
      if (!by_itself) by_itself = look->hello.wall_ms - o.last_op->at_ms >= kUntouched.count() / 2;
      bool on_its_way = phase == OpPhase::activated || phase == OpPhase::intent || phase == OpPhase::reverting;
      bool back = phase == OpPhase::reverted && o.running == c.plan.from && o.tree_state == "verified" && o.process_ok;
      if (back && !*by_itself) co_return of(c, "host.stuck", "it went back only when it was asked: its dead-man switch did not act");
      if (back) {
        StepResult r = of(c, "host.lapsed", "");
        r.entry["detail"] = o.last_op->detail;
        co_return r;
      }
      if (!on_its_way)
        co_return of(c, "host.stuck", fmt::format("nobody confirmed, and its journal says {}{}", to_text(phase),
                                                  o.last_op->detail.empty() ? "" : ": " + o.last_op->detail));
    }
    if (left > 1) co_await sleep_until(c.clock, c.clock.elapsed() + kPause);
  }
  StepResult r = of(c, silence.empty() ? "host.stuck" : "host.unknown", silence.empty() ? "it has not gone back by itself" : silence);
  co_return r;
}

}  // namespace ripcord
