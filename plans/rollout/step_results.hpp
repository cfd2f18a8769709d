// What came of a step on one host, as the ledger entry that says so. Every step says the same thing with the same members, so that the
// fold, the screens and a person who reads the ledger find each in one place. Internal to the host steps.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "plans/rollout/host_steps.hpp"

namespace ripcord {

constexpr int kAttempts = 3;  // times a host is asked to go forward when nothing came of it

using StepTimes = std::map<std::string, std::int64_t>;  // milliseconds by step, as the host measured them

json::object host_entry(const StepContext& c, std::string_view kind);

// --- nothing about this host: no entry ---
StepResult our_fault(std::string why);   // our own credentials
StepResult fenced_off(std::string why);  // somebody else has a higher epoch
// Whether what was caught is one of the two.
std::optional<StepResult> not_the_host(const std::optional<LinkError>& link, const std::optional<HostRefusal>& refusal);

// --- nothing was changed on it ---
// The release lies on the host, and nothing was asked of it, or it refused.
StepResult not_begun(const StepContext& c, const std::string& why);
// The command was lost on its way: asked again under a new operation id, kAttempts times in all.
StepResult never_began(const StepContext& c);
// A link fault or a refusal, one of them, before anything was asked to change on the host.
StepResult nothing_changed(const StepContext& c, std::string_view step, const std::optional<LinkError>& link, const std::optional<HostRefusal>& refusal);

// --- it came to an end ---
StepResult failed(const StepContext& c, std::string_view step, std::string_view reason, bool switched);
StepResult failed(const StepContext& c, const ActivateReply& reply);
// `trouble`: what could not be cleaned up behind it, so that it runs the new release and is still drained.
StepResult confirmed(const StepContext& c, const StepTimes& step_ms, const std::string& trouble);
// `trouble` as above: back on its old release, and still drained.
StepResult returned(const StepContext& c, const StepTimes& step_ms, const std::string& trouble);
StepResult stuck(const StepContext& c, std::string_view reason);
StepResult unknown(const StepContext& c, std::string_view why);
StepResult unknown(const StepContext& c, const LinkError& why, std::string_view when = "");  // `when`: "before going back: "
// What a person does about it, and whether it is a finding: a host that may be somebody else (exit 9).
void note_link(StepResult& r, const LinkError& e);
// What a terminal state of an operation means for the rollout.
StepResult from_terminal(const StepContext& c, const OpState& state, const StepTimes& step_ms);

// Why, in one line and with ": " before it: what the host says, else the last line of what the failed step printed. Empty: nobody says.
std::string because_of(const ActivateReply& reply);
// No other host is drained while one could not be put back in service: the entry that pauses the rollout. Empty: nothing of the kind.
json::object pause_for_drained(const RolloutSpec& spec, const HostPlan& plan, const json::object& entry);
void note_output(StepResult& r, const ActivateReply& reply);  // of the failed step, and the service's log

}  // namespace ripcord
