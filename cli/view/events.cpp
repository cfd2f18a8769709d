// One line for each kind of ledger entry.
#include <fmt/format.h>

#include <algorithm>

#include "cli/view/words.hpp"

namespace ripcord::cli {
namespace {

// A member that is a release, a version, or nothing.
std::string release_word(const json::object& body, std::string_view key) {
  auto* v = body.if_contains(key);
  if (!v || v->is_null()) return "nothing";
  if (v->is_string()) {
    // a release folder, "1.1-0123456789ab", is its version for people
    std::string text(v->as_string());
    auto dash = text.rfind('-');
    bool folder =
        dash != std::string::npos && text.size() - dash == 13 && text.find_first_not_of("0123456789abcdef", dash + 1) == std::string::npos;
    return folder ? text.substr(0, dash) : text;
  }
  if (v->is_object()) return get_string_or(v->as_object(), "version", "?");
  return "?";
}

std::string took(const json::object& body) {
  const auto* steps = find_object(body, "step_ms");
  if (!steps) return "";
  std::int64_t sum = 0;
  for (const auto& [name, ms] : *steps)
    if (ms.is_int64()) sum += ms.as_int64();
  return sum > 0 ? " in " + format_duration(Millis(sum)) : "";
}

std::string reason_after_colon(const std::string& why) { return why.empty() ? "" : ": " + why; }

// A host is where it was to be. What is not as one would like it all the same.
std::string and_yet(const json::object& b) {
  auto drained = get_string_or(b, "drained", "");
  auto kept = get_strings_or_empty(b, "kept");
  return (drained.empty() ? "" : ", and is not back in service: " + drained) + (kept.empty() ? "" : "; edited by hand: " + join(kept, "; "));
}

std::string stage_name(const RolloutState& s, std::int64_t i) {
  return i >= 0 && i < static_cast<std::int64_t>(s.spec().stages.size()) ? s.spec().stages[static_cast<std::size_t>(i)].name : "?";
}

}  // namespace

std::optional<Event> describe(const LedgerEntry& entry, const RolloutState& s) {
  const auto& b = entry.body;
  const auto kind = get_string_or(b, "kind", "");
  const auto& spec = s.spec();
  const auto host = get_string_or(b, "host", "");
  const auto why = get_string_or(b, "why", ""), reason = get_string_or(b, "reason", "");
  const auto who = get_string_or(b, "who", "?");
  const auto stage = stage_name(s, get_int_or(b, "stage", -1));

  if (kind == "rollout.started")
    return Event{fmt::format("{} {} of {} {} to {} in {}, by {}{}", spec.purpose == kConverge ? "convergence" : spec.purpose == kRepair ? "repair" : "rollout", spec.id, spec.unit, spec.version,
                             count_of(spec.hosts.size(), "host"), count_of(spec.stages.size(), "stage"), spec.who, reason_after_colon(spec.why)),
                 Tone::bold};
  if (kind == "drill.started")
    return Event{fmt::format("{} drill {} of {} {} on {}, by {}{}", spec.drill, spec.id, spec.unit, spec.version, count_of(spec.hosts.size(), "host"),
                             spec.who, reason_after_colon(spec.why)),
                 Tone::bold};
  if (kind == "host.lapsed") return Event{fmt::format("{} went back by itself, unconfirmed: {}", host, get_string_or(b, "detail", "")), Tone::good};
  if (kind == "drill.disproved")
    return Event{fmt::format("the way back to {} does not work on {}{}", get_string_or(b, "from_version", "?"), host, reason_after_colon(reason)), Tone::bad};
  if (kind == "stage.started") {
    auto i = get_int_or(b, "stage", -1);
    auto n = i >= 0 && i < static_cast<std::int64_t>(s.stages().size()) ? s.stages()[static_cast<std::size_t>(i)].total : 0;
    return Event{fmt::format("stage {} started: {}", stage, count_of(static_cast<std::size_t>(n), "host")), Tone::bold};
  }
  if (kind == "stage.baking") {
    auto i = static_cast<std::size_t>(std::max<std::int64_t>(0, get_int_or(b, "stage", 0)));
    auto bake = i < spec.stages.size() ? spec.stages[i].bake : Millis(0);
    return Event{fmt::format("stage {} bakes for {}", stage, format_duration(bake)), Tone::active};
  }
  if (kind == "stage.passed") return Event{"stage " + stage + " passed", Tone::good};
  if (kind == "host.staged")
    return Event{
        fmt::format("{} staged {} ({}, {})", host, spec.version, count_of(static_cast<std::size_t>(get_int_or(b, "files", 0)), "file"),
                    format_size(static_cast<std::uint64_t>(get_int_or(b, "bytes", 0)))),
        Tone::dim};
  const bool rehearsal = get_bool_or(b, "rehearsal", false);
  if (kind == "rollback.proof") {
    auto p = proof_from_json(b);
    return Event{fmt::format("way back to {} proven on {}: forward in {}, back in {}", p.from_version, p.host, format_duration(p.forward),
                             format_duration(p.back)),
                 Tone::good};
  }
  if (kind.starts_with("once.")) {
    auto what = get_string_or(b, "run", "?");
    auto by = get_string_or(b, "by", "");
    if (kind == "once.intent") return Event{"once: running " + what, Tone::active};
    if (kind == "once.done") return Event{"once: " + what + (by == "check" ? " was done already, its check says" : " done"), Tone::good};
    return Event{"once: " + what + (kind == "once.failed" ? " failed" : " may or may not have been done") + reason_after_colon(reason), Tone::bad};
  }
  if (kind == "host.intent" && get_bool_or(b, "lapse", false))
    return Event{fmt::format("{} rehearsal: forward to {}, and nobody confirms: it has {} to go back by itself", host, release_word(b, "to"),
                             format_duration(spec.lapse_within)),
                 Tone::active};
  if (kind == "host.intent" && rehearsal)
    return Event{get_bool_or(b, "forward", true) ? fmt::format("{} rehearsal: forward again to {}", host, release_word(b, "to"))
                                                 : fmt::format("{} rehearsal: back to {}", host, release_word(b, "to")),
                 Tone::active};
  if (kind == "host.intent") {
    if (get_bool_or(b, "forward", true))
      return Event{fmt::format("{} activating {} (from {})", host, release_word(b, "to"), release_word(b, "from")), Tone::active};
    return Event{fmt::format("{} going back to {}", host, release_word(b, "to")), Tone::warn};
  }
  if (kind == "host.confirmed") {
    return Event{fmt::format("{} confirmed {}{}{}", host, spec.version, took(b), and_yet(b)), and_yet(b).empty() ? Tone::good : Tone::warn};
  }
  if (kind == "host.failed") {
    auto step = get_string_or(b, "failed_step", "");
    return Event{fmt::format("{} failed{}{}", host, step.empty() ? "" : " at " + step, reason_after_colon(reason)), Tone::bad};
  }
  if (kind == "host.unreachable" || kind == "host.unknown") {
    const bool finding = get_bool_or(b, "trust", false);  // somebody may be in between
    auto hint = finding ? get_string_or(b, "hint", "") : "";
    return Event{fmt::format("{} {}{}{}", host, kind.substr(5), reason_after_colon(reason), hint.empty() ? "" : "; " + hint), finding ? Tone::bad : Tone::warn};
  }
  if (kind == "host.unhealthy") return Event{fmt::format("{} unhealthy{}", host, reason_after_colon(reason)), Tone::bad};
  if (kind == "host.returned" && rehearsal && !reason.empty())
    return Event{fmt::format("{} rehearsal: back on {}, but {}", host, release_word(b, "to"), reason), Tone::bad};
  if (kind == "host.returned" && rehearsal)
    return Event{fmt::format("{} rehearsal: runs {} again, verified{}{}", host, release_word(b, "to"), took(b), and_yet(b)), and_yet(b).empty() ? Tone::good : Tone::warn};
  if (kind == "host.returned") return Event{fmt::format("{} returned to {}{}", host, release_word(b, "to"), and_yet(b)), Tone::warn};
  if (kind == "host.stuck") return Event{fmt::format("{} needs a person{}", host, reason_after_colon(reason)), Tone::bad};
  if (kind == "rollout.rolling_back") return Event{"rolling back" + reason_after_colon(why), Tone::bad};
  if (kind == "rollout.paused") {
    auto by = get_string_or(b, "by", "person");
    return Event{fmt::format("paused by {}{}", by == "person" ? who : by == "signal" ? "a signal" : "policy", reason_after_colon(why)), Tone::warn};
  }
  if (kind == "fleet.halted") return Event{"fleet " + s.halt_why, Tone::bad};
  if (kind == "rollout.halted") return Event{"halted" + reason_after_colon(why), Tone::bad};
  if (kind == "rollout.taken_over")
    return Event{fmt::format("taken over by {} from {} on {}: {}", who, get_string_or(b, "from_who", "?"), get_string_or(b, "from_machine", "?"),
                             get_string_or(b, "how", "")),
                 Tone::warn};
  if (kind == "quarantine.set")
    return Event{fmt::format("{} quarantined by {}: {}", host, who, reason), Tone::warn};
  if (kind == "quarantine.lifted") return Event{fmt::format("quarantine of {} lifted by {}{}", host, who, reason_after_colon(why)), Tone::warn};
  if (kind == "rollout.resumed") return Event{"resumed by " + who + reason_after_colon(why), Tone::bold};
  if (kind == "rollout.promoted") return Event{"stage " + stage + " promoted by " + who + reason_after_colon(why), Tone::bold};
  if (kind == "rollout.approved" && b.contains("once")) return Event{"what was to run once was done, says " + who + reason_after_colon(why), Tone::bold};
  if (kind == "rollout.approved") return Event{"stage " + stage + " approved by " + who + reason_after_colon(why), Tone::bold};
  if (kind == "rollout.aborted") return Event{"aborted by " + who + reason_after_colon(why), Tone::bad};
  if (kind == "rollout.retried") return Event{"retried by " + who + reason_after_colon(compress_hosts(get_strings_or_empty(b, "hosts"))), Tone::bold};
  if (kind == "rollout.ended" || kind == "drill.ended") {
    auto owed = get_strings_or_empty(b, "owed");
    auto outcome = get_string_or(b, "outcome", "?");
    std::replace(outcome.begin(), outcome.end(), '_', ' ');
    return Event{outcome + reason_after_colon(why) + (owed.empty() ? "" : ", owed: " + compress_hosts(owed)),
                 outcome == "completed" ? Tone::good : Tone::bad};
  }
  return std::nullopt;
}

}  // namespace ripcord::cli
