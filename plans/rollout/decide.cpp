#include "plans/rollout/decide.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/error.hpp"
#include "plans/rollout/deciding.hpp"
#include "plans/rollout/drill.hpp"
#include "plans/rollout/rehearsal.hpp"

namespace ripcord {
namespace {

// Forward; the helpers below each look at one question.
struct Decider : Deciding {
  bool walking = false;  // a host is out to prove a way back

  // --- failing ----------------------------------------------------------------------------------------------------------------
  // True when the rollout as a whole has to stop going forward.
  bool failed_as_a_whole() {
    std::string why;
    if (state.aborted) {
      record("rollout.rolling_back", {{"why", state.rollback_why.empty() ? "aborted" : "aborted: " + state.rollback_why}});
      return true;
    }
    if (!state.disproof.empty() || state.failures >= std::max(1, spec().max_failures)) {
      why = !state.disproof.empty() ? state.disproof : fmt::format("{} failed{}", count_of(state.failures, "host"), first_reason(HostPhase::failed, HostPhase::returned));
      if (spec().rollback_on_failure) record("rollout.rolling_back", {{"why", why}});
      else if (!state.paused) record("rollout.paused", {{"by", "policy"}, {"why", why + "; on_failure is pause"}});
      else wait(Waiting::paused, "paused: " + state.pause_why);
      return true;
    }
    return false;
  }

  static std::string count_of(int n, std::string_view noun) { return fmt::format("{} {}{}", n, noun, n == 1 ? "" : "s"); }

  std::string first_reason(HostPhase a, HostPhase b) const {
    for (int i = 0; i < static_cast<int>(state.hosts().size()); ++i)
      if ((host(i).phase == a || host(i).phase == b) && !host(i).reason.empty()) return fmt::format(" ({}: {})", plan(i).name, host(i).reason);
    return "";
  }

  // --- forward ----------------------------------------------------------------------------------------------------------------
  void forward() {
    // Outcomes that are not known come first, the earliest deadline before the others: they have a clock running on the host.
    std::vector<int> open;
    for (const auto& s : state.stages())
      for (int i : s.idle[at(HostPhase::activating)]) open.push_back(i);
    std::sort(open.begin(), open.end(), [&](int a, int b) { return host(a).since_ms < host(b).since_ms; });
    for (int i : open) out.actions.push_back(Resolve{i});
    // A host that failed goes back at once, whatever the rollout does next.
    for (const auto& s : state.stages()) {
      for (HostPhase p : {HostPhase::failed, HostPhase::returning})
        for (int i : s.idle[at(p)])
          if (host(i).switched && spec().no_return.empty()) out.actions.push_back(GoBack{i, p == HostPhase::returning && host(i).rehearsing});
    }
    if (failed_as_a_whole()) return;
    if (state.halted) return wait(Waiting::halted, state.halt_why.empty() ? "halted" : state.halt_why);
    if (state.paused) return wait(Waiting::paused, state.pause_why.empty() ? "paused" : "paused: " + state.pause_why);
    // Tried once more after a person has said that it goes on; then it pauses again.
    for (int i : state.drained)
      if (!host(i).busy && (host(i).phase == HostPhase::confirmed || host(i).phase == HostPhase::returned))
        out.actions.push_back(host(i).phase == HostPhase::confirmed ? NextAction(Resolve{i}) : NextAction(GoBack{i}));
    if (!state.drained.empty()) return wait(Waiting::work, "undraining");
    int lost = state.unreachable;
    if (lost > spec().max_unreachable)
      return record("rollout.paused", {{"by", "policy"},
                                       {"why", fmt::format("{} unreachable, and max_unreachable is {}{}", count_of(lost, "host"),
                                                           spec().max_unreachable, first_reason(HostPhase::unreachable, HostPhase::unknown))}});

    int now = state.current_stage();
    if (walk_on(now)) return;
    if (now == static_cast<int>(state.stages().size())) return complete();
    const auto& s = stage(now);
    const auto& ss = stage_spec(now);
    if (!s.started) {
      if (ss.approval && !s.approved && s.in(HostPhase::confirmed) < s.total) return wait(Waiting::approval, fmt::format("stage {} waits for approval", ss.name));
      if (!once_done(now)) return;
      return record("stage.started", {{"stage", now}, {"name", ss.name}});
    }
    if (s.baking) return bake(now);
    if (s.in(HostPhase::waiting) > passed_over(now)) return stage_hosts(now);
    if (now == 0 && rehearse(now, true)) return;
    if (s.in(HostPhase::staged) > 0) return activate(now);
    if (s.in(HostPhase::activating) > 0 || s.in(HostPhase::returning) > 0 || going_back(s) || walking) return progress(now);
    if (s.in(HostPhase::waiting) > 0) return stage_hosts(now);  // the last word on those that are silent
    finish_stage(now);
  }

  // Hosts of the stage that are silent: the others do not wait for them, unless they would be too many if none of them came back.
  int passed_over(int now) const {
    int silent = 0;
    for (int i : in.silent) silent += plan(i).stage == now && host(i).phase == HostPhase::waiting && !plan(i).away;
    for (int i : state.away()) silent += plan(i).stage == now && host(i).phase == HostPhase::waiting;  // preflight has waited for it
    return state.unreachable + silent <= spec().max_unreachable ? silent : 0;
  }

  // What is to happen once before this stage. False: it has not happened, or nobody knows.
  bool once_done(int now) {
    using Phase = OnceState::Phase;
    for (int i = 0; i < static_cast<int>(state.once.size()); ++i) {
      const auto& spec_of = spec().once[static_cast<std::size_t>(i)];
      const auto& one = state.once[static_cast<std::size_t>(i)];
      if (spec_of.stage != now || one.phase == Phase::done) continue;
      auto what = fmt::format("`{}`, once before stage {}", spec_of.text(), stage_spec(now).name);
      if (one.waits()) {
        record("rollout.paused", {{"by", "policy"},
                                  {"why", fmt::format("{} {}{}; look whether it was done: `resume` asks its check again, `retry` runs it again, "
                                                      "`approve` says that it was done",
                                                      what, one.phase == Phase::failed ? "failed" : "may or may not have been done",
                                                      one.reason.empty() ? "" : ": " + one.reason)}});
      } else if (!one.busy && (one.phase == Phase::intended || !window_closed())) {
        out.actions.push_back(RunOnce{i, one.phase == Phase::intended});
      }
      wait(Waiting::work, "running " + what);
      return false;
    }
    return true;
  }

  bool going_back(const StageState& s) const {
    for (HostPhase p : {HostPhase::failed, HostPhase::unknown}) {
      for (int i : s.idle[at(p)])
        if (host(i).switched && p == HostPhase::failed && spec().no_return.empty()) return true;
      if (static_cast<int>(s.idle[at(p)].size()) < s.in(p)) return true;  // somebody is at it
    }
    return false;
  }

  // The release is staged on all hosts of the stage that answer before any is switched.
  void stage_hosts(int now) {
    const auto& s = stage(now);
    int in_flight = s.in(HostPhase::waiting) - static_cast<int>(s.idle[at(HostPhase::waiting)].size());
    for (int i : s.idle[at(HostPhase::waiting)]) {
      if (in_flight++ >= in.max_staging) break;
      out.actions.push_back(StageRelease{i});
    }
    std::vector<std::string> silent;
    for (int i : in.silent)
      if (plan(i).stage == now && host(i).phase == HostPhase::waiting) silent.push_back(plan(i).name);
    out.silence = !silent.empty();
    wait(Waiting::work, fmt::format("staging in {}{}", stage_spec(now).name, silent.empty() ? "" : "; no answer yet from " + join(silent, ", ")));
  }

  void activate(int now) {
    const auto& s = stage(now);
    const auto& ss = stage_spec(now);
    if (window_closed()) return;
    // Hosts activated and not known to be well: the blast radius (promise 9). One that is unknown has had its dead-man's deadline: it
    // went back by itself or stands still. It counts against max_unreachable, and no longer holds up the others.
    int open = s.in(HostPhase::activating) + s.in(HostPhase::returning);
    // Somebody is at them: an intent is on its way, or a task has not ended whose last entry is there already.
    for (HostPhase p : {HostPhase::staged, HostPhase::confirmed, HostPhase::failed}) open += s.in(p) - static_cast<int>(s.idle[at(p)].size());
    for (const auto& action : out.actions) open += std::holds_alternative<GoBack>(action);
    for (int i : s.idle[at(HostPhase::failed)]) open += host(i).switched;
    int width = ss.slow_start ? std::min(ss.max_parallel, 1 + s.in(HostPhase::confirmed)) : ss.max_parallel;
    auto unavailable = s.unavailable;
    if (now > 0 && rehearse(now, false)) return;  // a proof has expired since
    for (int i : s.idle[at(HostPhase::staged)]) {
      if (open >= width) break;
      if (!may_switch(state, i, in.now)) continue;
      int& down = unavailable[plan(i).domain];
      if (ss.max_unavailable > 0 && down >= ss.max_unavailable) continue;
      out.actions.push_back(Activate{i});
      ++down;
      ++open;
    }
    progress(now);
  }

  // The walks of the first stage. True: nothing else is to be done now.
  bool rehearse(int now, bool every) {
    auto walks = walks_due(state, in.now, every, now);
    for (int i : walks.proven) record("rollback.proof", to_json(proof_of(state, i, in.now)));
    if (!walks.proven.empty()) return true;
    if (!walks.back.empty() && window_closed()) return true;  // what goes back has to come forward again
    for (int i : walks.back) out.actions.push_back(GoBack{i, true});
    // Hosts that are in the middle of something may yet be the ones that walk it.
    walking = walking || !walks.back.empty() || walks.under_way;
    if (!walking && !walks.lost.empty()) {
      record("rollout.paused", {{"by", "policy"},
                                {"why", fmt::format("no host is left that could walk the way back to {}: `retry` one that did not answer, or "
                                                    "abort and apply with --unproven", join(walks.lost, ", "))}});
      return true;
    }
    if (!walks.back.empty()) wait(Waiting::work, fmt::format("rehearsing the way back in {}", stage_spec(0).name));
    return false;
  }

  // A walk that began in a later stage, because a proof had expired, is that of a host of the first one. It ends before anything
  // else does. True: the rollout's end has to wait for it.
  bool walk_on(int now) {
    if (now == 0) return false;
    const auto& s = stage(0);
    bool is_out = s.in(HostPhase::activating) + s.in(HostPhase::returning) > 0;
    for (int i : s.idle[at(HostPhase::staged)]) {
      if (!host(i).walked) continue;
      is_out = true;
      if (window_closed()) return true;
      out.actions.push_back(Activate{i});
    }
    walking = is_out;
    if (is_out && now == static_cast<int>(state.stages().size())) return progress(0), true;
    return false;
  }

  bool window_closed() {
    if (!spec().window || spec().outside_window || spec().window->open(in.now)) return false;
    auto next = spec().window->next_open(in.now);
    wake(next);
    wait(Waiting::window, fmt::format("outside the window {}; opens {}", spec().window->text(), format_utc(next)));
    return true;
  }

  void progress(int now) {
    const auto& s = stage(now);
    auto deadline = s.last_progress + std::max(spec().progress_deadline, spec().confirm_within + Millis(10000));
    if (in.now >= deadline && out.actions.empty()) {
      auto why = fmt::format("no host of stage {} made progress for {}{}", stage_spec(now).name, format_duration(in.now - s.last_progress), who_is_at_it(now));
      if (spec().rollback_on_failure) return record("rollout.rolling_back", {{"why", why}});
      return record("rollout.paused", {{"by", "policy"}, {"why", why}});
    }
    wake(deadline);
    wait(Waiting::work, fmt::format("activating in {}", stage_spec(now).name));
  }

  std::string who_is_at_it(int now) const {
    std::vector<std::string> names;
    for (int i = 0; i < static_cast<int>(state.hosts().size()) && names.size() < 5; ++i)
      if (plan(i).stage == now && (host(i).phase == HostPhase::activating || host(i).phase == HostPhase::unknown || host(i).phase == HostPhase::returning))
        names.push_back(fmt::format("{} is {}", plan(i).name, to_text(host(i).phase)));
    return names.empty() ? "" : ": " + join(names, ", ");
  }

  void finish_stage(int now) {
    const auto& s = stage(now);
    const auto& ss = stage_spec(now);
    if (s.total > 0 && s.in(HostPhase::confirmed) == 0 && now + 1 < static_cast<int>(state.stages().size()))
      return record("rollout.paused", {{"by", "policy"},
                                       {"why", fmt::format("no host of stage {} runs {}{}", ss.name, spec().version,
                                                           first_reason(HostPhase::unreachable, HostPhase::failed))}});
    // A host's last entry may be folded before its task has ended: only when all are idle is it seen who runs what.
    if (static_cast<int>(s.idle[at(HostPhase::confirmed)].size()) < s.in(HostPhase::confirmed))
      return wait(Waiting::work, fmt::format("activating in {}", ss.name));
    bool changed = false;
    for (int i : s.idle[at(HostPhase::confirmed)]) changed = changed || !plan(i).unchanged;
    if (ss.bake.count() > 0 && !s.promoted && changed) return record("stage.baking", {{"stage", now}});
    record("stage.passed", {{"stage", now}});
  }

  void bake(int now) {
    const auto& s = stage(now);
    const auto& ss = stage_spec(now);
    auto until = s.bake_from + ss.bake;
    if (s.in(HostPhase::returning) > 0 || going_back(s)) return wait(Waiting::work, fmt::format("going back in {}", ss.name));
    if (s.in(HostPhase::confirmed) == 0) return finish_stage(now);  // nobody is left who could show that it is well
    if (s.promoted || (in.now >= until && in.last_health_round >= s.bake_from)) return record("stage.passed", {{"stage", now}});
    auto next = in.last_health_round < s.bake_from ? in.now : in.last_health_round + health_round_interval(ss.bake);
    if (next <= in.now || in.now >= until) {
      CheckHealth round;
      for (int i : s.idle[at(HostPhase::confirmed)]) round.hosts.push_back(i);
      if (!round.hosts.empty()) out.actions.push_back(std::move(round));
    } else {
      wake(std::min(next, until));
    }
    wait(Waiting::bake, fmt::format("baking in stage {} until {}", ss.name, format_utc(until)));
  }

  void complete() {
    if (any_busy() || !out.actions.empty()) return wait(Waiting::work, "the last hosts");
    json::array owed;
    for (int i = 0; i < static_cast<int>(state.hosts().size()); ++i)
      if (host(i).phase != HostPhase::confirmed && !state.is_quarantined(plan(i).name, in.now)) owed.push_back(json::value(plan(i).name));
    for (const auto& left : spec().left_out)
      if (!state.is_quarantined(left.host, in.now)) owed.push_back(json::value(left.host));
    Exit code = owed.empty() ? Exit::done : !state.distrusted.empty() ? Exit::integrity : Exit::unreachable;
    record("rollout.ended", {{"outcome", "completed"}, {"exit", static_cast<int>(code)}, {"owed", std::move(owed)}});
  }
};

}  // namespace

std::optional<int> host_of(const NextAction& action) {
  if (auto* a = std::get_if<StageRelease>(&action)) return a->host;
  if (auto* a = std::get_if<Activate>(&action)) return a->host;
  if (auto* a = std::get_if<Resolve>(&action)) return a->host;
  if (auto* a = std::get_if<GoBack>(&action)) return a->host;
  if (auto* a = std::get_if<Lapse>(&action)) return a->host;
  return std::nullopt;
}

Millis health_round_interval(Millis bake) { return std::clamp(bake / 10, Millis(500), Millis(30000)); }

Decision decide(const RolloutState& state, const DecideInput& in) {
  const bool open = state.ending == Ending::open && !in.stopping;
  if (open && !state.spec().drill.empty()) return decide_drill(state, in);
  if (open && state.rolling_back) return decide_back(state, in);
  Decider d{{state, in}};
  if (open) d.forward();
  else if (in.stopping) d.wait(Waiting::paused, "stopping");
  else d.wait(Waiting::ended, std::string(to_text(state.ending)));
  return std::move(d.out);
}

}  // namespace ripcord
