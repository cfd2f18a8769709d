#include "cli/view/words.hpp"

#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <map>

#include "core/base/error.hpp"

namespace ripcord::cli {
namespace {

tm local_parts(WallTime t) {
  time_t s = t.ms / 1000;
  tm parts{};
  localtime_r(&s, &parts);
  return parts;
}

std::string date_of(const tm& p) { return fmt::format("{:04}-{:02}-{:02}", p.tm_year + 1900, p.tm_mon + 1, p.tm_mday); }

// A member that is a release, a version, or nothing.
std::string release_word(const json::object& body, std::string_view key) {
  auto* v = body.if_contains(key);
  if (!v || v->is_null()) return "nothing";
  if (v->is_string()) {
    // a release folder, "1.1-0123456789ab", is its version for people
    std::string text(v->as_string());
    auto dash = text.rfind('-');
    bool folder = dash != std::string::npos && text.size() - dash == 13 && text.find_first_not_of("0123456789abcdef", dash + 1) == std::string::npos;
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

std::string because(const std::string& why) { return why.empty() ? "" : ": " + why; }

std::string stage_name(const RolloutState& s, std::int64_t i) {
  return i >= 0 && i < static_cast<std::int64_t>(s.spec().stages.size()) ? s.spec().stages[static_cast<std::size_t>(i)].name : "?";
}

}  // namespace

std::string time_of_day(WallTime t) {
  auto p = local_parts(t);
  return fmt::format("{:02}:{:02}:{:02}", p.tm_hour, p.tm_min, p.tm_sec);
}

std::string short_time(WallTime t, WallTime now) {
  auto p = local_parts(t), n = local_parts(now);
  auto hours = fmt::format("{:02}:{:02}", p.tm_hour, p.tm_min);
  if (std::abs((t - now).count()) < 120000) hours += fmt::format(":{:02}", p.tm_sec);
  return date_of(p) == date_of(n) ? hours : date_of(p) + " " + hours;
}

std::string local_time(const std::string& utc) {
  try {
    auto p = local_parts(parse_utc(utc));
    return fmt::format("{} {:02}:{:02}:{:02}", date_of(p), p.tm_hour, p.tm_min, p.tm_sec);
  } catch (const Error&) {
    return utc;
  }
}

std::string count_of(std::size_t n, const std::string& noun) { return fmt::format("{} {}{}", n, noun, n == 1 ? "" : "s"); }

std::string compress_hosts(const std::vector<std::string>& names) {
  struct Run {
    std::string prefix, suffix;
    std::size_t width;
    std::vector<std::uint64_t> numbers;
  };
  std::vector<Run> runs;
  std::map<std::tuple<std::string, std::string, std::size_t>, std::size_t> known;
  for (const auto& name : names) {
    auto last = name.find_last_of("0123456789");
    if (last == std::string::npos) {
      runs.push_back({name, "", 0, {}});
      continue;
    }
    auto before = name.find_last_not_of("0123456789", last);
    auto first = before == std::string::npos ? 0 : before + 1;
    auto digits = name.substr(first, last - first + 1);
    if (digits.size() > 9) {
      runs.push_back({name, "", 0, {}});
      continue;
    }
    auto width = digits.size();  // "web-9" and "web-10" are two runs: a range has one width
    auto key = std::make_tuple(name.substr(0, first), name.substr(last + 1), width);
    auto [at, fresh] = known.try_emplace(key, runs.size());
    if (fresh) runs.push_back({std::get<0>(key), std::get<1>(key), width, {}});
    runs[at->second].numbers.push_back(std::stoull(digits));
  }
  std::vector<std::string> parts;
  for (auto& run : runs) {
    if (run.width == 0) {
      parts.push_back(run.prefix);
      continue;
    }
    std::sort(run.numbers.begin(), run.numbers.end());
    run.numbers.erase(std::unique(run.numbers.begin(), run.numbers.end()), run.numbers.end());
    for (std::size_t i = 0; i < run.numbers.size();) {
      std::size_t j = i;
      while (j + 1 < run.numbers.size() && run.numbers[j + 1] == run.numbers[j] + 1) ++j;
      if (i == j) parts.push_back(fmt::format("{}{:0{}}{}", run.prefix, run.numbers[i], run.width, run.suffix));
      else parts.push_back(fmt::format("{}[{:0{}}:{:0{}}]{}", run.prefix, run.numbers[i], run.width, run.numbers[j], run.width, run.suffix));
      i = j + 1;
    }
  }
  return join(parts, ", ");
}

std::string Runner::text() const { return lease ? lease->who + " on " + lease->machine : "nobody"; }

Tone tone_of(HostPhase phase) {
  switch (phase) {
    case HostPhase::confirmed: return Tone::good;
    case HostPhase::failed:
    case HostPhase::stuck: return Tone::bad;
    case HostPhase::unreachable:
    case HostPhase::unknown:
    case HostPhase::returning:
    case HostPhase::returned: return Tone::warn;
    case HostPhase::activating:
    case HostPhase::staged: return Tone::active;
    case HostPhase::waiting: return Tone::dim;
  }
  return Tone::plain;
}

std::vector<std::string> hosts_in(const RolloutState& state, HostPhase phase, int stage) {
  std::vector<std::string> names;
  const auto& hosts = state.spec().hosts;
  for (std::size_t i = 0; i < hosts.size(); ++i)
    if (state.hosts()[i].phase == phase && (stage < 0 || hosts[i].stage == stage)) names.push_back(hosts[i].name);
  return names;
}

std::vector<std::string> owed_hosts(const RolloutState& state) {
  std::vector<std::string> names;
  const auto& hosts = state.spec().hosts;
  for (std::size_t i = 0; i < hosts.size(); ++i)
    if (state.hosts()[i].phase != HostPhase::confirmed) names.push_back(hosts[i].name);
  return names;
}

Verdict verdict(const RolloutState& s, WallTime now) {
  const auto& spec = s.spec();
  const auto name = spec.unit + " " + spec.version + ": ";
  const auto total = spec.hosts.size();
  const auto confirmed = fmt::format(" ({} of {} confirmed)", s.count(HostPhase::confirmed), count_of(total, "host"));
  auto at = [&](const char* word) { return fmt::format("{}{} at {}", name, word, short_time(s.ended, now)); };
  switch (s.ending) {
    case Ending::completed: {
      auto owed = owed_hosts(s);
      if (owed.empty()) return {at("completed") + confirmed, Tone::good, Waiting::ended};
      return {at("completed") + confirmed + ", owed: " + compress_hosts(owed), Tone::warn, Waiting::ended};
    }
    case Ending::rolled_back: return {at("rolled back") + because(s.rollback_why), Tone::bad, Waiting::ended};
    case Ending::failed: return {at("failed") + because(s.rollback_why), Tone::bad, Waiting::ended};
    case Ending::needs_person: {
      std::vector<std::string> lost = hosts_in(s, HostPhase::stuck);
      for (auto phase : {HostPhase::unknown, HostPhase::unreachable, HostPhase::failed})
        for (auto& h : hosts_in(s, phase)) lost.push_back(h);
      return {name + "needs a person" + because(lost.empty() ? s.rollback_why : "look at " + compress_hosts(lost)), Tone::bad, Waiting::ended};
    }
    case Ending::open: break;
  }
  if (s.rolling_back)
    return {fmt::format("{}rolling back{} ({} back on the old release)", name, because(s.rollback_why), count_of(static_cast<std::size_t>(s.count(HostPhase::returned)), "host")),
            Tone::bad, Waiting::work};
  if (s.aborted) return {name + "aborted, about to roll back" + because(s.rollback_why), Tone::bad, Waiting::work};

  const int stage = s.current_stage();
  const auto in_stage = stage < static_cast<int>(spec.stages.size()) ? " in stage " + spec.stages[static_cast<std::size_t>(stage)].name : "";
  if (s.paused) {
    auto by = s.pause_by == "policy" ? "" : s.pause_by == "signal" ? " by a signal" : " by a person";
    return {name + "paused" + in_stage + by + because(s.pause_why) + confirmed, Tone::warn, Waiting::paused};
  }
  DecideInput in;
  in.now = in.last_health_round = now;
  auto d = decide(s, in);
  switch (d.waiting) {
    case Waiting::bake: {
      const auto& st = s.stages()[static_cast<std::size_t>(stage)];
      auto until = st.bake_from + spec.stages[static_cast<std::size_t>(stage)].bake;
      return {name + "baking" + in_stage + " until " + short_time(until, now) + confirmed, Tone::active, d.waiting};
    }
    case Waiting::approval: return {name + "waiting for approval of" + in_stage.substr(3) + confirmed, Tone::warn, d.waiting};
    case Waiting::window: {
      auto opens = d.wake ? ", opens " + short_time(*d.wake, now) : "";
      return {name + "waiting" + in_stage + " for the window " + (spec.window ? spec.window->text() : "") + opens + confirmed, Tone::warn, d.waiting};
    }
    case Waiting::paused: return {name + "pausing" + in_stage + confirmed, Tone::warn, d.waiting};
    case Waiting::halted: return {name + "halted" + in_stage + confirmed, Tone::warn, d.waiting};
    default: break;
  }
  const bool staging = stage < static_cast<int>(s.stages().size()) && s.stages()[static_cast<std::size_t>(stage)].in(HostPhase::waiting) > 0;
  return {name + (staging ? "staging" : "activating") + in_stage + confirmed, Tone::active, Waiting::work};
}

std::vector<NextStep> next_steps(const RolloutState& s, const Runner& runner, WallTime now) {
  const auto& unit = s.spec().unit;
  std::vector<NextStep> steps;
  auto trouble = s.count(HostPhase::failed) + s.count(HostPhase::returned) + s.count(HostPhase::stuck) + s.count(HostPhase::unknown);
  if (s.failures > 0 || (trouble > 0 && s.ending != Ending::completed)) steps.push_back({"logs " + unit, "shows the output of what failed"});
  if (s.ending == Ending::completed && !owed_hosts(s).empty()) steps.push_back({"apply " + unit, "brings the hosts that are owed, once they answer"});
  if (s.ending == Ending::needs_person) {
    steps.push_back({"hosts --unit " + unit, "shows what every host runs now"});
    steps.push_back({"rollback " + unit, "tries again to bring every host back"});
  }
  if (s.ending != Ending::open) return steps;
  auto v = verdict(s, now);
  if (v.waiting == Waiting::approval) steps.push_back({"approve " + unit, "lets the stage start"});
  if (v.waiting == Waiting::bake) steps.push_back({"promote " + unit, "ends the bake now"});
  if (v.waiting == Waiting::paused) {
    steps.push_back({"resume " + unit, "goes on"});
    if (s.count(HostPhase::unreachable) + s.count(HostPhase::failed) > 0) steps.push_back({"retry " + unit, "tries hosts again that failed or did not answer"});
    steps.push_back({"abort " + unit, "brings every touched host back"});
  } else if (!runner.alive(now)) {
    steps.push_back({"resume " + unit, "goes on: no process runs this rollout"});
  }
  return steps;
}

std::optional<Event> describe(const LedgerEntry& entry, const RolloutState& s) {
  const auto& b = entry.body;
  const auto kind = get_string_or(b, "kind", "");
  const auto& spec = s.spec();
  const auto host = get_string_or(b, "host", "");
  const auto why = get_string_or(b, "why", ""), reason = get_string_or(b, "reason", "");
  const auto who = get_string_or(b, "who", "?");
  const auto stage = stage_name(s, get_int_or(b, "stage", -1));

  if (kind == "rollout.started")
    return Event{fmt::format("rollout {} of {} {} to {} in {}, by {}{}", spec.id, spec.unit, spec.version, count_of(spec.hosts.size(), "host"),
                             count_of(spec.stages.size(), "stage"), spec.who, because(spec.why)),
                 Tone::bold};
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
    return Event{fmt::format("{} staged {} ({}, {})", host, spec.version, count_of(static_cast<std::size_t>(get_int_or(b, "files", 0)), "file"),
                             format_size(static_cast<std::uint64_t>(get_int_or(b, "bytes", 0)))),
                 Tone::dim};
  if (kind == "host.intent") {
    if (get_bool_or(b, "forward", true)) return Event{fmt::format("{} activating {} (from {})", host, release_word(b, "to"), release_word(b, "from")), Tone::active};
    return Event{fmt::format("{} going back to {}", host, release_word(b, "to")), Tone::warn};
  }
  if (kind == "host.confirmed") return Event{fmt::format("{} confirmed {}{}", host, spec.version, took(b)), Tone::good};
  if (kind == "host.failed") {
    auto step = get_string_or(b, "failed_step", "");
    return Event{fmt::format("{} failed{}{}", host, step.empty() ? "" : " at " + step, because(reason)), Tone::bad};
  }
  if (kind == "host.unreachable") return Event{fmt::format("{} unreachable{}", host, because(reason)), Tone::warn};
  if (kind == "host.unknown") return Event{fmt::format("{} unknown{}", host, because(reason)), Tone::warn};
  if (kind == "host.unhealthy") return Event{fmt::format("{} unhealthy{}", host, because(reason)), Tone::bad};
  if (kind == "host.returned") return Event{fmt::format("{} returned to {}", host, release_word(b, "to")), Tone::warn};
  if (kind == "host.stuck") return Event{fmt::format("{} needs a person{}", host, because(reason)), Tone::bad};
  if (kind == "rollout.rolling_back") return Event{"rolling back" + because(why), Tone::bad};
  if (kind == "rollout.paused") {
    auto by = get_string_or(b, "by", "person");
    return Event{fmt::format("paused by {}{}", by == "person" ? who : by == "signal" ? "a signal" : "policy", because(why)), Tone::warn};
  }
  if (kind == "rollout.resumed") return Event{"resumed by " + who + because(why), Tone::bold};
  if (kind == "rollout.promoted") return Event{"stage " + stage + " promoted by " + who + because(why), Tone::bold};
  if (kind == "rollout.approved") return Event{"stage " + stage + " approved by " + who + because(why), Tone::bold};
  if (kind == "rollout.aborted") return Event{"aborted by " + who + because(why), Tone::bad};
  if (kind == "rollout.retried") return Event{"retried by " + who + ": " + compress_hosts(get_strings_or_empty(b, "hosts")), Tone::bold};
  if (kind == "rollout.ended") {
    auto owed = get_strings_or_empty(b, "owed");
    auto outcome = get_string_or(b, "outcome", "?");
    std::replace(outcome.begin(), outcome.end(), '_', ' ');
    return Event{outcome + because(why) + (owed.empty() ? "" : ", owed: " + compress_hosts(owed)), outcome == "completed" ? Tone::good : Tone::bad};
  }
  return std::nullopt;
}

}  // namespace ripcord::cli
