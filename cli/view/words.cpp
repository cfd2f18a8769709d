#include "cli/view/words.hpp"

#include <fmt/format.h>
#include <time.h>

#include <algorithm>

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

std::string because(const std::string& why) { return why.empty() ? "" : ": " + why; }

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
  if (state.ending == Ending::completed) return state.owed;
  std::vector<std::string> names;
  const auto& hosts = state.spec().hosts;
  for (std::size_t i = 0; i < hosts.size(); ++i)
    if (state.hosts()[i].phase != HostPhase::confirmed) names.push_back(hosts[i].name);
  return names;
}

namespace {

Verdict plain_verdict(const RolloutState& s, WallTime now) {
  const auto& spec = s.spec();
  const auto name = spec.unit + " " + spec.version + (spec.drill.empty() ? "" : ", " + spec.drill + " drill") + ": ";
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
      return {name + "needs a person" + because(lost.empty() ? s.rollback_why : "look at " + compress_hosts(lost)), Tone::bad,
              Waiting::ended};
    }
    case Ending::open: break;
  }
  if (s.rolling_back)
    return {fmt::format("{}rolling back{} ({} back on the old release)", name, because(s.rollback_why),
                        count_of(static_cast<std::size_t>(s.count(HostPhase::returned)), "host")),
            Tone::bad, Waiting::work};
  if (s.aborted && spec.drill.empty()) return {name + "aborted, about to roll back" + because(s.rollback_why), Tone::bad, Waiting::work};

  const int stage = s.current_stage();
  const auto in_stage =
      stage < static_cast<int>(spec.stages.size()) ? " in stage " + spec.stages[static_cast<std::size_t>(stage)].name : "";
  if (s.halted) return {name + (s.halt_why.starts_with("halted") ? "" : "halted: ") + s.halt_why + in_stage + confirmed, Tone::bad, Waiting::halted};
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
      return {name + "waiting" + in_stage + " for the window " + (spec.window ? spec.window->text() : "") + opens + confirmed, Tone::warn,
              d.waiting};
    }
    case Waiting::paused: return {name + "pausing" + in_stage + confirmed, Tone::warn, d.waiting};
    default: break;
  }
  const bool staging =
      stage < static_cast<int>(s.stages().size()) && s.stages()[static_cast<std::size_t>(stage)].in(HostPhase::waiting) > 0;
  return {name + (staging ? "staging" : "activating") + in_stage + confirmed, Tone::active, Waiting::work};
}

}  // namespace

Verdict verdict(const RolloutState& s, WallTime now) {
  auto v = plain_verdict(s, now);
  if (!s.spec().no_return.empty()) {
    v.text += fmt::format("; PAST THE POINT OF NO RETURN {}", join(s.spec().no_return, ", "));
    v.tone = Tone::bad;
  }
  if (s.spec().unproven.empty()) return v;
  v.text += fmt::format("; THE WAY BACK TO {} IS UNPROVEN", join(s.spec().unproven, ", "));
  v.tone = Tone::bad;
  return v;
}

std::vector<NextStep> next_steps(const RolloutState& s, const Runner& runner, WallTime now) {
  const auto& unit = s.spec().unit;
  std::vector<NextStep> steps;
  if (s.failures > 0 || s.count(HostPhase::stuck) > 0) steps.push_back({"logs " + unit, "shows the output of what failed"});
  if (s.ending == Ending::completed && !owed_hosts(s).empty()) {
    const auto& left = s.spec().left_out;
    bool limited = std::any_of(left.begin(), left.end(), [](const LeftOut& l) { return l.until_ms == 0; });
    if (limited) steps.push_back({fmt::format("apply {}@{}", unit, s.spec().version), "goes to the hosts that were left out, too"});
    else steps.push_back({fmt::format("converge --unit {} -m WHY", unit), "brings the hosts that are owed, once they answer"});
  }
  if (s.ending == Ending::needs_person && !s.spec().drill.empty()) {
    steps.push_back({"hosts --unit " + unit, "shows what every host runs now"});
    steps.push_back({fmt::format("apply {}@{}", unit, s.spec().version), "brings hosts that were left elsewhere"});
  } else if (s.ending == Ending::needs_person) {
    steps.push_back({"hosts --unit " + unit, "shows what every host runs now"});
    steps.push_back({"rollback " + unit, "tries again to bring every host back"});
  }
  if (s.ending != Ending::open) return steps;
  auto v = verdict(s, now);
  if (v.waiting == Waiting::approval) steps.push_back({"approve " + unit, "lets the stage start"});
  if (v.waiting == Waiting::bake) steps.push_back({"promote " + unit, "ends the bake now"});
  if (v.waiting == Waiting::paused) {
    steps.push_back({"resume " + unit, "goes on"});
    if (std::any_of(s.once.begin(), s.once.end(), [](const OnceState& one) { return one.waits(); })) {
      steps.push_back({"approve " + unit, "says that what was to run once was done"});
      steps.push_back({"retry " + unit, "runs it again"});
    }
    if (s.count(HostPhase::unreachable) + s.count(HostPhase::failed) > 0)
      steps.push_back({"retry " + unit, "tries hosts again that failed or did not answer"});
    steps.push_back({"abort " + unit, "brings every touched host back"});
  } else if (v.waiting == Waiting::halted) {
    steps.push_back({"unhalt -m WHY", "lifts the halt, where it is still on"});
    steps.push_back({"resume " + unit, "goes on, once it is lifted"});
    steps.push_back({"abort " + unit, "brings every touched host back"});
  } else if (!runner.alive(now)) {
    steps.push_back({"resume " + unit, "goes on: no process runs this rollout"});
  }
  return steps;
}

}  // namespace ripcord::cli
