#include "plans/rollout/step_results.hpp"

#include <fmt/format.h>

namespace ripcord {
namespace {

StepResult entry_of(const StepContext& c, std::string_view kind, std::string_view reason) {
  StepResult r{.entry = host_entry(c, kind)};
  r.entry["reason"] = reason;
  return r;
}

StepResult unreachable(const StepContext& c, std::string_view reason, std::string_view name) {
  StepResult r = entry_of(c, "host.unreachable", reason);
  r.entry["name"] = name;
  return r;
}

StepResult unreachable(const StepContext& c, const LinkError& e) {
  StepResult r = entry_of(c, "host.unreachable", e.message());
  note_link(r, e);
  return r;
}

json::object steps_json(const StepTimes& step_ms) {
  json::object o;
  for (const auto& [step, ms] : step_ms) o[step] = ms;
  return o;
}

}  // namespace

json::object host_entry(const StepContext& c, std::string_view kind) {
  json::object o{{"kind", kind}, {"host", c.plan.name}};
  if (!c.op.empty()) o["op"] = c.op;
  return o;
}

StepResult our_fault(std::string why) { return {.controller_fault = true, .why = std::move(why)}; }
StepResult fenced_off(std::string why) { return {.fenced = true, .why = std::move(why)}; }

std::optional<StepResult> not_the_host(const std::optional<LinkError>& link, const std::optional<HostRefusal>& refusal) {
  if (link && link->fault() == LinkFault::ours) return our_fault(link->message());
  if (refusal && refusal->code() == "fenced") return fenced_off(refusal->message());
  return std::nullopt;
}

StepResult not_begun(const StepContext& c, const std::string& why) { return entry_of(c, "host.staged", why); }

// Nothing happened, so the host is where staging left it. Should the old command still arrive, nobody confirms it, and the host goes
// back by itself.
StepResult never_began(const StepContext& c) {
  if (c.attempts < kAttempts) return not_begun(c, "the operation never reached the host");
  return entry_of(c, "host.unreachable", fmt::format("the command was lost on its way {} times", c.attempts));
}

StepResult nothing_changed(const StepContext& c, std::string_view step, const std::optional<LinkError>& link, const std::optional<HostRefusal>& refusal) {
  if (auto stop = not_the_host(link, refusal)) return *stop;
  if (refusal && refusal->code() == "halted") {
    StepResult r = not_begun(c, refusal->message());
    r.halted = true, r.why = c.plan.name + ": " + refusal->message();
    return r;
  }
  // Known to be out of order before the rollout began: owed, as a host that does not answer is, and no reason to take the others back.
  bool as_before = c.plan.away && step == "stage";
  if (as_before && link && link->fault() == LinkFault::host) return unreachable(c, *link);
  if (as_before && refusal && refusal->code() != "untrusted") return unreachable(c, refusal->message(), refusal->code());
  if (refusal) {
    auto r = failed(c, step, refusal->message(), false);
    r.entry["code"] = refusal->code();
    r.entry["hint"] = refusal->hint();
    if (refusal->code() == "untrusted") r.entry["trust"] = true;
    return r;
  }
  if (link->fault() == LinkFault::host) {
    auto r = failed(c, step, link->message(), false);
    r.entry["code"] = link->name();
    r.entry["hint"] = link->hint();
    return r;
  }
  // Another host key says nothing about the release: whoever can answer for one host must not take all others back.
  return unreachable(c, *link);
}

StepResult failed(const StepContext& c, std::string_view step, std::string_view reason, bool switched) {
  StepResult r{.entry = host_entry(c, "host.failed")};
  r.entry["failed_step"] = step;
  r.entry["reason"] = reason;
  r.entry["switched"] = switched;
  return r;
}

// Where a person is needed, the release may well be what runs: nobody may count on the old one.
StepResult failed(const StepContext& c, const ActivateReply& reply) {
  const bool switched = reply.switched || reply.state.phase == OpPhase::activated || reply.state.phase == OpPhase::needs_operator;
  const auto step = reply.failed_step.empty() ? std::string("activation") : reply.failed_step;
  StepResult r = failed(c, reply.failed_step, fmt::format("{} failed{}", step, because_of(reply)), switched);
  note_output(r, reply);
  return r;
}

StepResult confirmed(const StepContext& c, const StepTimes& step_ms, const std::string& trouble) {
  StepResult r{.entry = host_entry(c, "host.confirmed")};
  r.entry["release"] = c.plan.to.folder();
  if (!trouble.empty()) r.entry["drained"] = trouble;
  r.entry["step_ms"] = steps_json(step_ms);
  return r;
}

StepResult returned(const StepContext& c, const StepTimes& step_ms, const std::string& trouble) {
  StepResult r{.entry = host_entry(c, "host.returned")};
  r.entry["to"] = c.plan.from ? c.plan.from->folder() : "nothing";
  if (!trouble.empty()) r.entry["drained"] = trouble;
  r.entry["step_ms"] = steps_json(step_ms);
  return r;
}

StepResult stuck(const StepContext& c, std::string_view reason) { return entry_of(c, "host.stuck", reason); }
StepResult unknown(const StepContext& c, std::string_view why) { return entry_of(c, "host.unknown", why); }

StepResult unknown(const StepContext& c, const LinkError& why, std::string_view when) {
  StepResult r = unknown(c, fmt::format("{}{}", when, why.message()));
  note_link(r, why);
  return r;
}

void note_link(StepResult& r, const LinkError& e) {
  r.entry["name"] = e.name();
  if (!e.hint().empty()) r.entry["hint"] = e.hint();
  if (e.fault() == LinkFault::trust) r.entry["trust"] = true;
}

StepResult from_terminal(const StepContext& c, const OpState& state, const StepTimes& step_ms) {
  auto because = state.detail.empty() ? std::string() : ": " + state.detail;
  if (!state.forward && state.phase == OpPhase::confirmed && state.to != c.plan.to) return returned(c, step_ms, state.detail);
  switch (state.phase) {
    case OpPhase::confirmed: return confirmed(c, step_ms, state.detail);
    case OpPhase::reverted: return failed(c, "confirm", "the host went back by itself" + because, false);
    case OpPhase::failed_unchanged: return failed(c, "switch", "the host was left unchanged" + because, false);
    case OpPhase::none: return never_began(c);
    default: break;
  }
  if (state.phase == OpPhase::needs_operator && !c.spec.no_return.empty()) return failed(c, "health", "the host runs it, and not well" + because, true);
  return stuck(c, fmt::format("the host's journal says {}{}", to_text(state.phase), because));
}

std::string because_of(const ActivateReply& reply) {
  if (!reply.state.detail.empty()) return ": " + reply.state.detail;
  auto text = trim(reply.output);
  auto line = trim(text.substr(text.find_last_of('\n') + 1));  // npos + 1 is 0
  return line.empty() ? "" : fmt::format(": {}", line.substr(0, 200));
}

json::object pause_for_drained(const RolloutSpec& spec, const HostPlan& plan, const json::object& entry) {
  const auto drained = get_string_or(entry, "drained", "");
  if (drained.empty() || get_bool_or(entry, "rehearsal", false)) return {};  // a walk goes on, and ends with an undrain of its own
  const auto from = plan.from ? plan.from->version : std::string("nothing");
  json::object paused{{"kind", "rollout.paused"}, {"by", "policy"}};
  paused["why"] = fmt::format("{} runs {} and is not back in service: {}; `resume` tries again", plan.name,
                              entry.at("kind") == "host.confirmed" ? spec.version : from, drained);
  return paused;
}

void note_output(StepResult& r, const ActivateReply& reply) {
  r.entry["output"] = reply.output;
  r.entry["log_tail"] = reply.log_tail;
}

}  // namespace ripcord
