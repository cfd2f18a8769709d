// The dead-man drill on one host: it comes forward armed, nobody confirms, and nobody comes near it until it must have gone back. Then
// one look tells whether it did so by itself: a helper that starts would do an overdue way back itself, so what counts is when.
#include <fmt/format.h>

#include "plans/rollout/host_asks.hpp"
#include "plans/rollout/step_results.hpp"

namespace ripcord {
namespace {

constexpr Millis kPromised{5000};   // INVARIANTS 5: back by T + 5 s
constexpr Millis kUntouched{1500};  // and nobody has asked for so long since
constexpr Millis kLapsePause{1000};
constexpr int kLapseLooks = 60;          // health of the old release may take as long as it takes

// Every entry of a drill names the pair whose way back it is about.
StepResult with_pair(const StepContext& c, StepResult r) {
  if (r.entry.empty()) return r;
  r.entry["rehearsal"] = true;
  r.entry["from"] = c.plan.from->manifest.hex();
  r.entry["to"] = c.plan.to.manifest.hex();
  return r;
}

ActivateRequest not_to_be_confirmed(const StepContext& c) {
  ActivateRequest request = request_for(c, true);
  request.confirm_within_ms = c.spec.lapse_within.count();
  request.demand_strong = false;  // the drill tells what the switch is worth, weak or strong
  return request;
}

}  // namespace

Task<StepResult> lapse_step(StepContext c, bool under_way) {
  const Elapsed begun = c.clock.elapsed();
  if (!under_way) {
    std::optional<LinkError> link;
    std::optional<HostRefusal> refusal;
    AskActivate forward{c, not_to_be_confirmed(c), c.spec.lapse_within + kPromised, {}};
    try {
      co_await forward();
    } catch (const LinkError& e) {
      link = e;  // what the host did its journal tells, later
    } catch (const HostRefusal& e) {
      refusal = e;
    }
    if (auto stop = not_the_host(link, refusal)) co_return *stop;
    if (refusal) co_return with_pair(c, nothing_changed(c, "activate", std::nullopt, refusal));
  }
  c.port.hang_up();
  co_await sleep_until(c.clock, begun + c.spec.lapse_within + kPromised + kUntouched);
  std::string refused;
  std::optional<LinkError> silence;
  std::optional<bool> by_itself;
  for (int left = kLapseLooks; left > 0; --left) {
    std::optional<Look> look;
    OpState mine;
    refused.clear(), silence.reset();
    try {
      look = co_await c.port.look(c.spec.unit_ref(), Verify::full, true);
      mine = co_await c.port.state(c.spec.unit_ref(), c.op);
    } catch (const LinkError& e) {
      silence = e;
    } catch (const HostRefusal& e) {
      refused = e.message();
    }
    if (silence && silence->fault() == LinkFault::ours) co_return our_fault(silence->message());
    if (silence && is_final(*silence)) break;
    if (!silence && refused.empty()) {
      const auto& o = look->unit;
      if (mine.phase == OpPhase::none) co_return with_pair(c, not_begun(c, "the operation never reached the host"));
      if (!o.last_op || o.last_op->op != c.op) co_return with_pair(c, stuck(c, "another operation came after that of the drill"));
      const auto phase = o.last_op->phase;
      if (!by_itself) by_itself = look->hello.wall_ms - o.last_op->at_ms >= kUntouched.count() / 2;
      bool on_its_way = phase == OpPhase::activated || phase == OpPhase::intent || phase == OpPhase::reverting;
      bool back = phase == OpPhase::reverted && o.running == c.plan.from && o.tree_state == "verified" && o.process_ok;
      if (back && !*by_itself) co_return with_pair(c, stuck(c, "it went back only when it was asked: its dead-man switch did not act"));
      if (back) {
        StepResult r{.entry = host_entry(c, "host.lapsed")};
        r.entry["detail"] = o.last_op->detail;
        co_return with_pair(c, std::move(r));
      }
      if (!on_its_way)
        co_return with_pair(c, stuck(c, fmt::format("nobody confirmed, and its journal says {}{}", to_text(phase),
                                                 o.last_op->detail.empty() ? "" : ": " + o.last_op->detail)));
    }
    if (left > 1) co_await sleep_until(c.clock, c.clock.elapsed() + kLapsePause);
  }
  if (silence) co_return with_pair(c, unknown(c, *silence));
  co_return with_pair(c, refused.empty() ? stuck(c, "it has not gone back by itself") : unknown(c, refused));
}

}  // namespace ripcord
