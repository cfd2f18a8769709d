// Forward past a point of no return. The host does it the way it goes back: one locked operation, compare-and-swap, restart and
// health, no dead-man switch, never itself undone. So it is no `forward` operation of its journal either, and a rip cord without a
// target does not take it back.
#include <fmt/format.h>

#include "plans/host_steps.hpp"

namespace ripcord {

Task<StepResult> onward_step(StepContext c) {
  ActivateRequest request;
  request.unit = c.spec.unit_ref();
  request.op = c.op;
  request.rollout = c.spec.id;
  request.forward = true;
  request.confirm_within_ms = -1;  // not armed
  request.from = c.plan.from;
  request.to = c.plan.to;
  request.epoch = c.epoch;
  request.holder = c.holder;
  request.ledger_id = c.ledger_id;
  request.who = c.spec.who;
  request.why = c.spec.why;

  const Millis within = c.spec.confirm_within + Millis(30000);
  const Elapsed until = c.clock.elapsed() + within;
  StepResult r;
  r.entry = {{"kind", "host.unknown"}, {"host", c.plan.name}, {"op", c.op}};
  ActivateReply reply;
  std::optional<HostRefusal> refusal;
  std::string why;
  bool answered = false, ours = false;
  for (Millis pause(200); !answered && !refusal && !ours; pause = std::min(pause * 2, Millis(5000))) {
    try {
      ActivateRequest copy = request;  // asked again by its id: the host does it once
      std::function<void(std::string)> on_step = c.on_step;
      reply = co_await c.port.activate(std::move(copy), within, std::move(on_step));
      answered = true;
    } catch (const LinkError& e) {
      why = e.message();
      ours = e.fault() == LinkFault::ours;
    } catch (const HostRefusal& e) {
      refusal = e;
    }
    if (answered || refusal || ours) break;
    if (c.clock.elapsed() + pause >= until) break;
    co_await sleep_until(c.clock, c.clock.elapsed() + pause);
  }
  if (ours) co_return StepResult{{}, true, false, why};
  if (refusal && refusal->code() == "halted") {
    r.entry["kind"] = "host.staged";
    r.entry["reason"] = refusal->message();
    r.halted = true;
    r.why = c.plan.name + ": " + refusal->message();
    co_return r;
  }
  if (refusal && refusal->code() == "fenced") co_return StepResult{{}, false, true, refusal->message()};
  if (!answered && !refusal) {
    r.entry["reason"] = why;
    co_return r;
  }
  if (!refusal && reply.state.phase == OpPhase::confirmed) {
    r.entry["kind"] = "host.confirmed";
    r.entry["release"] = c.plan.to.folder();
    json::object steps;
    for (const auto& [step, ms] : reply.step_ms) steps[step] = ms;
    r.entry["step_ms"] = std::move(steps);
    co_return r;
  }
  r.entry["kind"] = "host.failed";
  r.entry["switched"] = refusal ? false : reply.switched || reply.state.phase == OpPhase::needs_operator;
  r.entry["failed_step"] = refusal ? "activate" : reply.failed_step;
  r.entry["reason"] = refusal ? refusal->message()
                              : fmt::format("{} failed{}", reply.failed_step.empty() ? "activation" : reply.failed_step,
                                            reply.state.detail.empty() ? "" : ": " + reply.state.detail);
  if (!refusal) {
    r.entry["output"] = reply.output;
    r.entry["log_tail"] = reply.log_tail;
  }
  co_return r;
}

}  // namespace ripcord
