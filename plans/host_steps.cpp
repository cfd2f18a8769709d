#include "plans/host_steps.hpp"

#include <fmt/format.h>

#include "plans/host_asks.hpp"

namespace ripcord {
namespace {

json::object host_entry(const StepContext& c, std::string_view kind) {
  json::object o{{"kind", kind}, {"host", c.plan.name}};
  if (!c.op.empty()) o["op"] = c.op;
  return o;
}

StepResult failed(const StepContext& c, std::string_view step, std::string_view reason, bool switched) {
  StepResult r;
  r.entry = host_entry(c, "host.failed");
  r.entry["failed_step"] = step;
  r.entry["reason"] = reason;
  r.entry["switched"] = switched;
  return r;
}

// Why, in one line: what the host says, else the last line of what the failed step printed.
std::string because_of(const ActivateReply& reply) {
  if (!reply.state.detail.empty()) return ": " + reply.state.detail;
  auto text = trim(reply.output);
  auto line = trim(text.substr(text.find_last_of('\n') + 1));  // npos + 1 is 0
  return line.empty() ? "" : fmt::format(": {}", line.substr(0, 200));
}

StepResult failed(const StepContext& c, const ActivateReply& reply) {
  auto detail = because_of(reply);
  StepResult r = failed(c, reply.failed_step, fmt::format("{} failed{}", reply.failed_step.empty() ? "activation" : reply.failed_step, detail),
                        reply.state.phase == OpPhase::activated || reply.switched);
  r.entry["output"] = reply.output;
  r.entry["log_tail"] = reply.log_tail;
  return r;
}

// The release lies on the host, and nothing was asked of it, or it refused.
StepResult not_begun(const StepContext& c, const std::string& why) {
  StepResult r{.entry = host_entry(c, "host.staged")};
  r.entry["reason"] = why;
  return r;
}

// A link fault or a refusal, before anything was asked to change on the host.
StepResult nothing_changed(const StepContext& c, std::string_view step, const LinkError* link, const HostRefusal* refusal) {
  if (link && link->fault() == LinkFault::ours) return {{}, true, false, link->message()};
  if (refusal && refusal->code() == "fenced") return {{}, false, true, refusal->message()};
  if (refusal && refusal->code() == "halted") {
    StepResult r = not_begun(c, refusal->message());
    r.halted = true, r.why = c.plan.name + ": " + refusal->message();
    return r;
  }
  // Known to be out of order before the rollout began: owed, as a host that does not answer is, and no reason to take the others back.
  bool as_before = c.plan.away && step == "stage";
  if (as_before && ((link && link->fault() == LinkFault::host) || (refusal && refusal->code() != "untrusted"))) {
    StepResult r;
    r.entry = host_entry(c, "host.unreachable");
    r.entry["reason"] = link ? link->message() : refusal->message();
    r.entry["name"] = link ? link->name() : refusal->code();
    return r;
  }
  if (refusal) {
    auto r = failed(c, step, refusal->message(), false);
    r.entry["code"] = refusal->code();
    r.entry["hint"] = refusal->hint();
    if (refusal->code() == "untrusted") r.entry["trust"] = true;
    return r;
  }
  if (link && (link->fault() == LinkFault::host || link->fault() == LinkFault::trust)) {
    auto r = failed(c, step, link->message(), false);
    r.entry["code"] = link->name();
    r.entry["hint"] = link->hint();
    if (link->fault() == LinkFault::trust) r.entry["trust"] = true;
    return r;
  }
  StepResult r;
  r.entry = host_entry(c, "host.unreachable");
  r.entry["reason"] = link->message();
  r.entry["name"] = link->name();
  return r;
}

json::object steps_json(const std::map<std::string, std::int64_t>& step_ms) {
  json::object o;
  for (const auto& [step, ms] : step_ms) o[step] = ms;
  return o;
}

StepResult confirmed(const StepContext& c, const std::map<std::string, std::int64_t>& step_ms, const std::string& trouble) {
  StepResult r;
  r.entry = host_entry(c, "host.confirmed");
  r.entry["release"] = c.plan.to.folder();
  if (!trouble.empty()) r.entry["drained"] = trouble;  // what could not be cleaned up behind it
  r.entry["step_ms"] = steps_json(step_ms);
  return r;
}

constexpr int kAttempts = 3;

// The command was lost on its way. Nothing happened, so the host is where staging left it and may be asked again, under a new
// operation id. Should the old command still arrive, nobody confirms it, and the host goes back by itself.
StepResult never_began(const StepContext& c) {
  StepResult r;
  r.entry = host_entry(c, c.attempts < kAttempts ? "host.staged" : "host.unreachable");
  r.entry["reason"] = c.attempts < kAttempts ? "the operation never reached the host" : fmt::format("the command was lost on its way {} times", c.attempts);
  return r;
}

StepResult returned(const StepContext& c, const std::map<std::string, std::int64_t>& step_ms) {
  StepResult r;
  r.entry = host_entry(c, "host.returned");
  r.entry["to"] = c.plan.from ? c.plan.from->folder() : "nothing";
  r.entry["step_ms"] = steps_json(step_ms);
  return r;
}

// What a terminal state of an operation means for the rollout.
StepResult from_terminal(const StepContext& c, const OpState& state, const std::map<std::string, std::int64_t>& step_ms) {
  auto because = state.detail.empty() ? std::string() : ": " + state.detail;
  if (!state.forward && state.phase == OpPhase::confirmed && state.to != c.plan.to) return returned(c, step_ms);
  switch (state.phase) {
    case OpPhase::confirmed: return confirmed(c, step_ms, state.detail);
    case OpPhase::reverted: return failed(c, "confirm", "the host went back by itself" + because, false);
    case OpPhase::failed_unchanged: return failed(c, "switch", "the host was left unchanged" + because, false);
    case OpPhase::none: return never_began(c);
    default: break;
  }
  if (state.phase == OpPhase::needs_operator && !c.spec.no_return.empty()) return failed(c, "health", "the host runs it, and not well" + because, true);
  StepResult r;
  r.entry = host_entry(c, "host.stuck");
  r.entry["reason"] = fmt::format("the host's journal says {}{}", to_text(state.phase), because);
  return r;
}

ActivateRequest request_for(const StepContext& c, bool forward) {
  ActivateRequest a;
  a.unit = c.spec.unit_ref();
  a.op = c.op;
  a.rollout = c.plan.journalled_as.empty() ? c.spec.id : c.plan.journalled_as;
  a.forward = forward;
  if (forward) {
    a.from = c.plan.from;
    a.to = c.plan.to;
    a.confirm_within_ms = c.spec.confirm_within.count();
    a.demand_strong = c.spec.demand_strong_deadman;
  } else {
    a.from = c.plan.to;
    a.to = c.plan.from;
  }
  a.epoch = c.epoch;
  a.holder = c.holder;
  a.ledger_id = c.ledger_id;
  a.who = c.spec.who;
  a.why = c.spec.why;
  return a;
}

struct AskBack {
  const StepContext& c;
  ActivateReply reply;
  Task<> operator()() {
    ActivateRequest request = request_for(c, false);
    std::function<void(std::string)> on_step = c.on_step;
    reply = co_await c.port.activate(std::move(request), c.spec.confirm_within + Millis(30000), std::move(on_step));
  }
};

StepResult unknown(const StepContext& c, const std::string& why) {
  StepResult r;
  r.entry = host_entry(c, "host.unknown");
  r.entry["reason"] = why;
  return r;
}

// Healthy on the new release: confirm it on a fresh connection, and believe only the journal.
Task<StepResult> confirm_healthy(const StepContext& c, Elapsed until, std::map<std::string, std::int64_t> step_ms) {
  if (c.may_act && !c.may_act()) co_return StepResult{.fenced = true, .why = "the lease ran out while the host was waited for"};
  AskConfirm confirm{c, {}};
  std::string why = co_await ask_until(c, until, confirm);
  if (!why.empty()) co_return unknown(c, "healthy, but could not be confirmed: " + why);
  co_return from_terminal(c, confirm.state, step_ms);
}

// The outcome is open: what the journal says, and on from there. Never re-activates.
Task<StepResult> settle_from(const StepContext& c, Elapsed until, OpState state) {
  AskState ask{c, std::move(state)};
  std::string why;
  if (ask.state.phase == OpPhase::intent || ask.state.phase == OpPhase::reverting) {
    // Somebody on the host is at it (or its recover() will be): look again until it has come to an end.
    while (c.clock.elapsed() < until && (ask.state.phase == OpPhase::intent || ask.state.phase == OpPhase::reverting)) {
      co_await sleep_until(c.clock, c.clock.elapsed() + Millis(500));
      why = co_await ask_until(c, until, ask);
      if (!why.empty()) co_return unknown(c, why);
    }
  }
  if (ask.state.phase == OpPhase::confirmed) {
    // The journal is about the operation; `current` is what runs. Between the two somebody may have pulled the cord.
    AskCurrent current{c, {}};
    why = co_await ask_until(c, until, current);
    if (!why.empty()) co_return unknown(c, why);
    if (current.running != ask.state.to) {
      auto runs = current.running ? current.running->folder() : std::string("nothing");
      StepResult r;
      r.fenced = true;
      r.why = fmt::format("it was confirmed and runs {} now: somebody pulled the cord since; `abort` brings the other hosts back, too", runs);
      co_return r;
    }
  }
  // Said once more, it puts right what the first time left: a host that is still drained.
  if (ask.state.phase == OpPhase::confirmed && ask.state.forward) {
    std::map<std::string, std::int64_t> no_steps;
    co_return co_await confirm_healthy(c, until, std::move(no_steps));
  }
  if (ask.state.phase != OpPhase::activated) co_return from_terminal(c, ask.state, {});
  AskFinish finish{c, {}};
  why = co_await ask_until(c, until, finish);
  if (!why.empty()) co_return unknown(c, why);
  if (finish.reply.state.phase == OpPhase::activated && finish.reply.healthy) co_return co_await confirm_healthy(c, until, finish.reply.step_ms);
  if (finish.reply.state.phase == OpPhase::activated) co_return failed(c, finish.reply);
  co_return from_terminal(c, finish.reply.state, finish.reply.step_ms);
}

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

Task<StepResult> stage_once(const StepContext& c, const ReleaseOnHand& release, const Labels& labels, PackSource& packs) {
  StageOffer offer{c.spec.unit_ref(), release.sealed.bytes, release.sealed.signature, labels};
  StageReply reply = co_await c.port.stage_offer(std::move(offer));
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
  StepResult r;
  r.entry = host_entry(c, "host.staged");
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
  for (int sessions = 0; sessions < 2 && (!link || link->name() == "closed") && !refusal; ++sessions) {
    link.reset();
    try {
      co_return co_await stage_once(c, release, labels, packs);
    } catch (const LinkError& e) {
      link = e;
    } catch (const HostRefusal& e) {
      refusal = e;
    }
  }
  co_return nothing_changed(c, "stage", link ? &*link : nullptr, refusal ? &*refusal : nullptr);
}

Task<StepResult> activate_step(StepContext c, Millis spread) {
  Elapsed until = settle_deadline(c) + spread;
  std::optional<HostRefusal> refusal;
  bool lost = false;
  try {
    ActivateRequest request = request_for(c, true);
    request.spread_ms = spread.count();
    std::function<void(std::string)> on_step = c.on_step;
    ActivateReply reply = co_await c.port.activate(std::move(request), c.spec.confirm_within + spread + Millis(10000), std::move(on_step));
    if (reply.healthy && reply.state.phase == OpPhase::activated) co_return co_await confirm_healthy(c, until, reply.step_ms);
    if (reply.state.phase == OpPhase::activated) co_return failed(c, reply);
    if (reply.state.phase == OpPhase::none && !reply.failed_step.empty()) co_return failed(c, reply);  // nothing was begun, and it says why
    StepResult r = from_terminal(c, reply.state, reply.step_ms);
    if (!reply.failed_step.empty() && r.entry.at("kind") == "host.failed") {
      r.entry["failed_step"] = reply.failed_step;
      r.entry["output"] = reply.output;
      r.entry["log_tail"] = reply.log_tail;
    }
    co_return r;
  } catch (const LinkError& e) {
    if (e.fault() == LinkFault::ours) co_return StepResult{{}, true, false, e.message()};
    lost = true;  // whatever the host did, its journal knows
  } catch (const HostRefusal& e) {
    refusal = e;
  }
  if (lost) co_return co_await settle(c, until);
  co_return nothing_changed(c, "activate", nullptr, &*refusal);
}

Task<StepResult> resolve_step(StepContext c) {
  std::optional<HostRefusal> refusal;
  std::optional<LinkError> link;
  try {
    co_return co_await take_up(c, settle_deadline(c));
  } catch (const LinkError& e) {
    link = e;
  } catch (const HostRefusal& e) {
    refusal = e;
  }
  if (link && link->fault() == LinkFault::ours) co_return StepResult{{}, true, false, link->message()};
  if (refusal && refusal->code() == "fenced") co_return StepResult{{}, false, true, refusal->message()};
  co_return unknown(c, refusal ? refusal->message() : link->message());
}

Task<StepResult> go_back_step(StepContext c) {
  std::optional<HostRefusal> refusal;
  std::optional<LinkError> link;
  AskBack back{c, {}};
  std::string why;
  try {
    why = co_await ask_until(c, settle_deadline(c), back);
  } catch (const LinkError& e) {
    link = e;
  } catch (const HostRefusal& e) {
    refusal = e;
  }
  if (link && link->fault() == LinkFault::ours) co_return StepResult{{}, true, false, link->message()};
  if (refusal && refusal->code() == "fenced") co_return StepResult{{}, false, true, refusal->message()};
  if (link) co_return unknown(c, link->message());
  if (!why.empty()) co_return unknown(c, "could not be asked to go back: " + why);
  if (!refusal && back.reply.state.phase == OpPhase::confirmed) co_return returned(c, back.reply.step_ms);
  StepResult r;
  r.entry = host_entry(c, "host.stuck");
  r.entry["reason"] = refusal ? refusal->message()
                              : fmt::format("going back: {} failed{}", back.reply.failed_step, because_of(back.reply));
  if (refusal) r.entry["code"] = refusal->code();
  if (!refusal) {
    r.entry["failed_step"] = back.reply.failed_step;
    r.entry["output"] = back.reply.output;
    r.entry["log_tail"] = back.reply.log_tail;
  }
  co_return r;
}

}  // namespace ripcord
