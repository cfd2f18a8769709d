// Forward past a point of no return. The host does it the way it goes back: one locked operation, compare-and-swap, restart and
// health, no dead-man switch, never itself undone. So it is no `forward` operation of its journal either, and a rip cord without a
// target does not take it back.
#include "plans/rollout/host_asks.hpp"
#include "plans/rollout/step_results.hpp"

namespace ripcord {
namespace {

ActivateRequest unarmed(const StepContext& c) {
  ActivateRequest request = request_for(c, true);
  request.confirm_within_ms = -1;
  request.demand_strong = false;  // of a switch that is not there
  return request;
}

}  // namespace

Task<StepResult> onward_step(StepContext c) {
  const Millis within = c.spec.confirm_within + Millis(30000);
  AskActivate onward{c, unarmed(c), within, {}};
  std::optional<LinkError> link;
  std::optional<HostRefusal> refusal;
  std::string why;
  try {
    why = co_await ask_until(c, c.clock.elapsed() + within, onward);  // asked again by its id: the host does it once
  } catch (const LinkError& e) {
    link = e;
  } catch (const HostRefusal& e) {
    refusal = e;
  }
  // Refused now, and done before, perhaps: an answer was lost, and a halt or another cord came since. Its journal tells.
  if (refusal && onward.times > 1) co_return co_await resolve_step(c);
  if (refusal) co_return nothing_changed(c, "activate", std::nullopt, refusal);
  if (auto stop = not_the_host(link, refusal)) co_return *stop;
  if (link) co_return unknown(c, *link);
  if (!why.empty()) co_return unknown(c, why);
  if (onward.reply.state.phase != OpPhase::confirmed) co_return failed(c, onward.reply);
  co_return confirmed(c, onward.reply.step_ms, onward.reply.state.detail);
}

}  // namespace ripcord
