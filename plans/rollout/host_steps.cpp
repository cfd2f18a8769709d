#include "plans/rollout/host_steps.hpp"

#include <fmt/format.h>

#include "plans/rollout/host_asks.hpp"
#include "plans/rollout/step_results.hpp"

namespace ripcord {
namespace {

Task<StepResult> settle_from(const StepContext& c, Elapsed until, OpState state);

// What the host said its operation came to. A way back that is under way (a rip cord, the dead-man switch) is no end yet.
Task<StepResult> outcome(const StepContext& c, Elapsed until, OpState state, StepTimes step_ms) {
  if (state.phase == OpPhase::reverting && c.clock.elapsed() < until) co_return co_await settle_from(c, until, std::move(state));
  co_return from_terminal(c, state, step_ms);
}

// Healthy on the new release: confirm it on a fresh connection, and believe only the journal.
Task<StepResult> confirm_healthy(const StepContext& c, Elapsed until, StepTimes step_ms) {
  if (c.may_act && !c.may_act()) co_return fenced_off("the lease ran out while the host was waited for");
  AskConfirm confirm{c, {}};
  std::string why = co_await ask_until(c, until, confirm);
  if (!why.empty()) co_return unknown(c, "healthy, but could not be confirmed: " + why);
  co_return co_await outcome(c, until, confirm.state, step_ms);
}

// It went back: by itself, or somebody pulled the cord meanwhile. The second is no failure of the host: it refuses us (fenced).
Task<> fence_again(const StepContext& c) {
  AskFenced ask{c, {}};
  co_await ask();
}

// The outcome is open: what the journal says, and on from there. Never re-activates.
Task<StepResult> settle_from(const StepContext& c, Elapsed until, OpState state) {
  AskState ask{c, std::move(state)};
  std::string why;
  // Somebody on the host is at it: look again until it has come to an end. A helper that died between its intent and the switch is at
  // nothing any more, and would leave its host to the dead-man switch: a session that may write ends what nobody owns when it begins.
  for (Millis pause(500); c.clock.elapsed() < until && (ask.state.phase == OpPhase::intent || ask.state.phase == OpPhase::reverting);
       pause = std::min(pause * 2, Millis(4000))) {
    co_await sleep_until(c.clock, c.clock.elapsed() + pause);
    if (ask.state.phase == OpPhase::intent) {
      c.port.hang_up();
      AskFenced fenced{c, {}};
      why = co_await ask_until(c, until, fenced);
      ask.state = fenced.state;
    } else {
      why = co_await ask_until(c, until, ask);
    }
    if (!why.empty()) co_return unknown(c, why);
  }
  if (ask.state.phase == OpPhase::confirmed) {
    // The journal is about the operation; `current` is what runs. Between the two somebody may have pulled the cord.
    AskCurrent current{c, {}};
    why = co_await ask_until(c, until, current);
    if (!why.empty()) co_return unknown(c, why);
    if (current.running != ask.state.to) {
      auto runs = current.running ? current.running->folder() : std::string("nothing");
      co_return fenced_off(fmt::format("it was confirmed and runs {} now: somebody pulled the cord since; `abort` brings the other hosts back, too", runs));
    }
  }
  // Said once more, it puts right what the first time left: a host that is still drained.
  if (ask.state.phase == OpPhase::confirmed && ask.state.to == c.plan.to) {
    StepTimes no_steps;
    co_return co_await confirm_healthy(c, until, std::move(no_steps));
  }
  // It ended before anything was switched: that says nothing about the release.
  if (ask.state.phase == OpPhase::failed_unchanged && ask.state.forward && c.attempts < kAttempts && c.spec.drill.empty())
    co_return not_begun(c, "it was left unchanged" + (ask.state.detail.empty() ? "" : ": " + ask.state.detail));
  if (ask.state.phase == OpPhase::reverted) co_await fence_again(c);
  if (ask.state.phase != OpPhase::activated) co_return from_terminal(c, ask.state, {});
  AskFinish finish{c, {}};
  why = co_await ask_until(c, until, finish);
  if (!why.empty()) co_return unknown(c, why);
  if (finish.reply.state.phase == OpPhase::activated && finish.reply.healthy) co_return co_await confirm_healthy(c, until, finish.reply.step_ms);
  if (finish.reply.state.phase == OpPhase::activated) co_return failed(c, finish.reply);
  co_return co_await outcome(c, until, finish.reply.state, finish.reply.step_ms);
}

// Our own operation, whose answer was lost.
Task<StepResult> settle(const StepContext& c, Elapsed until) {
  AskState ask{c, {}};
  std::string why = co_await ask_until(c, until, ask);
  if (!why.empty()) co_return unknown(c, "no answer until its dead-man switch must have fired: " + why);
  co_return co_await settle_from(c, until, ask.state);
}

// Another process's operation. A host that went back for want of a controller says nothing about the release: it is activated anew.
Task<StepResult> take_up(const StepContext& c, Elapsed until) {
  AskFenced ask{c, {}};
  std::string why = co_await ask_until(c, until, ask);
  if (!why.empty()) co_return unknown(c, "no answer until its dead-man switch must have fired: " + why);
  const bool went_back = ask.state.phase == OpPhase::reverted;
  if (went_back && c.attempts < kAttempts && c.spec.drill.empty()) co_return not_begun(c, "it went back by itself while no controller was there to confirm");
  co_return co_await settle_from(c, until, ask.state);
}

// Not asked again (docs/ssh.md), and yet it may be armed: until its dead-man switch must have fired it counts as out (promise 9).
Task<StepResult> not_asked_again(const StepContext& c, Elapsed until, const LinkError& link) {
  co_await sleep_until(c.clock, until);
  co_return unknown(c, link);
}

Task<StepResult> come_to_an_end(const StepContext& c, Elapsed until, bool ours) {
  std::optional<HostRefusal> refusal;
  std::optional<LinkError> link;
  try {
    if (ours) co_return co_await settle(c, until);
    co_return co_await take_up(c, until);
  } catch (const LinkError& e) {
    link = e;
  } catch (const HostRefusal& e) {
    refusal = e;
  }
  if (auto stop = not_the_host(link, refusal)) co_return *stop;
  if (link) co_return co_await not_asked_again(c, until, *link);
  co_await sleep_until(c.clock, until);
  co_return unknown(c, refusal->message());
}

Task<StepResult> stage_once(const StepContext& c, const ReleaseOnHand& release, const Labels& labels, PackSource& packs) {
  if (c.plan.away) {  // the plan was made without it: what it comes from nobody knows
    Look look = co_await c.port.look(c.spec.unit_ref(), Verify::none, false);
    if (look.unit.running != c.plan.from) {
      StepResult owed{.entry = host_entry(c, "host.unreachable")};
      owed.entry["reason"] = fmt::format("it answered only after the plan was made, and runs {}: `ripcord converge` brings it", look.unit.running ? look.unit.running->version : "nothing");
      co_return owed;
    }
  }
  StageOffer offer{c.spec.unit_ref(), release.sealed.bytes, release.sealed.signature, labels};
  StageReply reply = co_await c.port.stage_offer(std::move(offer));
  if (c.on_answer) c.on_answer();
  // A host that lacks template sources cannot know its tree before it has them.
  if (!reply.release.tree.is_zero() && !(reply.release == c.plan.to))
    co_return failed(c, "stage",
                     fmt::format("the host makes tree {} of this release, and the plan says {}: labels or arch changed since the plan was made",
                                 reply.release.tree.short_hex(), c.plan.to.tree.short_hex()),
                     false);
  std::size_t sent = 0;
  if (!reply.complete) {
    std::vector<Digest> lacking = reply.lacking;
    Pack pack = co_await packs.pack(std::move(lacking));
    sent = pack.bytes.size();
    if (c.on_step) c.on_step("staging");
    UnitRef unit = c.spec.unit_ref();
    reply = co_await c.port.stage_pack(std::move(unit), std::move(pack));
    if (!reply.complete || !(reply.release == c.plan.to)) co_return failed(c, "stage", "the host did not complete the release it was sent", false);
  }
  StepResult r{.entry = host_entry(c, "host.staged")};
  r.entry["files"] = reply.files;
  r.entry["bytes"] = sent;
  co_return r;
}

// By then an unconfirmed host has gone back by itself (promise 5: T + 5 s), with room for one slow connection.
Elapsed settle_deadline(const StepContext& c) { return c.clock.elapsed() + c.spec.confirm_within + Millis(15000); }

}  // namespace

Task<StepResult> stage_step(StepContext c, const ReleaseOnHand& release, Labels labels, PackSource& packs) {
  std::optional<LinkError> link;
  std::optional<HostRefusal> refusal;
  // Staging takes up where it was left, so a session that broke off in the middle is worth a second one.
  auto broke_off = [&] { return link->name() == "closed" || link->name() == "silent" || link->name() == "corrupted"; };
  for (int sessions = 0; sessions < 2 && (!link || broke_off()) && !refusal; ++sessions) {
    link.reset();
    try {
      co_return co_await stage_once(c, release, labels, packs);
    } catch (const LinkError& e) {
      link = e;
    } catch (const HostRefusal& e) {
      refusal = e;
    }
  }
  co_return nothing_changed(c, "stage", link, refusal);
}

Task<StepResult> activate_step(StepContext c, Millis spread) {
  Elapsed until = settle_deadline(c) + spread;
  std::optional<HostRefusal> refusal;
  std::optional<LinkError> lost;
  try {
    ActivateRequest request = request_for(c, true);
    request.spread_ms = spread.count();
    std::function<void(std::string)> on_step = c.on_step;
    ActivateReply reply = co_await c.port.activate(std::move(request), c.spec.confirm_within + spread + Millis(10000), std::move(on_step));
    if (reply.healthy && reply.state.phase == OpPhase::activated) {
      StepResult r = co_await confirm_healthy(c, until, reply.step_ms);
      if (!reply.kept.empty()) r.entry["kept"] = to_json_array(reply.kept);
      co_return r;
    }
    if (reply.state.phase == OpPhase::activated) co_return failed(c, reply);
    if (reply.state.phase == OpPhase::reverted) co_await fence_again(c);
    if (reply.state.phase == OpPhase::none && !reply.failed_step.empty()) co_return failed(c, reply);  // nothing was begun, and it says why
    StepResult r = co_await outcome(c, until, reply.state, reply.step_ms);
    if (!reply.failed_step.empty() && r.entry.at("kind") == "host.failed") {
      r.entry["failed_step"] = reply.failed_step;
      note_output(r, reply);
    }
    co_return r;
  } catch (const LinkError& e) {
    if (e.fault() == LinkFault::ours) co_return our_fault(e.message());
    lost = e;  // whatever the host did, its journal knows
  } catch (const HostRefusal& e) {
    refusal = e;
  }
  if (lost && is_final(*lost)) co_return co_await not_asked_again(c, until, *lost);
  if (lost) co_return co_await come_to_an_end(c, until, true);
  co_return nothing_changed(c, "activate", std::nullopt, refusal);
}

Task<StepResult> resolve_step(StepContext c) {
  Elapsed until = settle_deadline(c);
  co_return co_await come_to_an_end(c, until, false);
}

Task<StepResult> go_back_step(StepContext c) {
  std::optional<HostRefusal> refusal;
  std::optional<LinkError> link;
  AskActivate back{c, request_for(c, false), c.spec.confirm_within + Millis(30000), {}};
  std::string why;
  const Elapsed until = settle_deadline(c);
  try {
    why = co_await ask_until(c, until, back);
  } catch (const LinkError& e) {
    link = e;
  } catch (const HostRefusal& e) {
    refusal = e;
  }
  if (auto stop = not_the_host(link, refusal)) co_return *stop;
  if (link) co_return co_await not_asked_again(c, until, *link);
  if (!why.empty()) co_return unknown(c, "could not be asked to go back: " + why);
  if (!refusal && back.reply.state.phase == OpPhase::confirmed) {
    StepResult r = returned(c, back.reply.step_ms, back.reply.state.detail);
    if (!back.reply.kept.empty()) r.entry["kept"] = to_json_array(back.reply.kept);
    co_return r;
  }
  if (refusal) {
    StepResult r = stuck(c, refusal->message());
    r.entry["code"] = refusal->code();
    co_return r;
  }
  StepResult r = stuck(c, fmt::format("going back: {} failed{}", back.reply.failed_step, because_of(back.reply)));
  r.entry["failed_step"] = back.reply.failed_step;
  note_output(r, back.reply);
  co_return r;
}

}  // namespace ripcord
