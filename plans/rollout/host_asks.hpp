// Questions to a host that are asked until it answers. Internal to the host steps: each names a request, ask_until does the waiting.
#pragma once
#include <algorithm>
#include <string>

#include "plans/rollout/host_steps.hpp"

namespace ripcord {

// Asks until somebody answers or `until` passes. Connections fail fast when a host is down, so pauses grow between attempts.
template <class Ask>
Task<std::string> ask_until(const StepContext& c, Elapsed until, Ask& ask) {
  Millis pause(200);
  std::string why;
  while (true) {
    bool again = false;
    try {
      co_await ask();
    } catch (const LinkError& e) {
      if (is_final(e)) throw;
      why = e.message();
      again = true;
    } catch (const HostRefusal& e) {
      if (e.code() != "busy") throw;  // another helper is at it, ours from before perhaps
      why = e.message();
      again = true;
    }
    if (!again) co_return "";
    if (c.clock.elapsed() + pause >= until) co_return why;
    co_await sleep_until(c.clock, c.clock.elapsed() + pause);
    pause = std::min(pause * 2, Millis(5000));
  }
}

// What the host is asked to do: forward from c.plan.from to c.plan.to, armed, or back from there.
ActivateRequest request_for(const StepContext& c, bool forward);

// One operation, which a host does once however often it is asked: armed ones are not asked for like this.
struct AskActivate {
  const StepContext& c;
  ActivateRequest request;
  Millis within;
  ActivateReply reply;
  int times = 0;  // asked
  Task<> operator()() {
    ++times;
    ActivateRequest copy = request;
    std::function<void(std::string)> on_step = c.on_step;
    reply = co_await c.port.activate(std::move(copy), within, std::move(on_step));
  }
};
struct AskState {
  const StepContext& c;
  OpState state;
  Task<> operator()() { state = co_await c.port.state(c.spec.unit_ref(), c.op); }
};
// As AskState, when another controller wrote the intent: stopped between that and the command, it may yet send it.
struct AskFenced {
  const StepContext& c;
  OpState state;
  Task<> operator()() {
    try {
      co_await c.port.fence(c.spec.unit_ref(), c.epoch, c.holder, c.ledger_id);
    } catch (const HostRefusal& e) {
      if (e.code() != "busy") throw;  // somebody on the host holds the lock, its way back perhaps: its journal tells
    }
    state = co_await c.port.state(c.spec.unit_ref(), c.op);
  }
};
struct AskCurrent {
  const StepContext& c;
  std::optional<ReleaseId> running;
  Task<> operator()() {
    Look look = co_await c.port.look(c.spec.unit_ref(), Verify::none, false);
    running = look.unit.running;
  }
};
struct AskFinish {
  const StepContext& c;
  ActivateReply reply;
  Task<> operator()() { reply = co_await c.port.finish(c.spec.unit_ref(), c.op, c.spec.confirm_within + Millis(10000)); }
};
struct AskConfirm {
  const StepContext& c;
  OpState state;
  Task<> operator()() { state = co_await c.port.confirm(c.spec.unit_ref(), c.op, c.epoch, c.holder); }
};

}  // namespace ripcord
