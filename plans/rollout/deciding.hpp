// What every decision about a rollout is written with. Internal to decide.cpp and decide_back.cpp.
#pragma once
#include <string>
#include <utility>

#include "plans/rollout/decide.hpp"

namespace ripcord {

struct Deciding {
  const RolloutState& state;
  const DecideInput& in;
  Decision out{};

  static std::size_t at(HostPhase p) { return static_cast<std::size_t>(p); }
  const RolloutSpec& spec() const { return state.spec(); }
  const StageState& stage(int i) const { return state.stages()[static_cast<std::size_t>(i)]; }
  const StageSpec& stage_spec(int i) const { return spec().stages[static_cast<std::size_t>(i)]; }
  const HostState& host(int i) const { return state.hosts()[static_cast<std::size_t>(i)]; }
  const HostPlan& plan(int i) const { return spec().hosts[static_cast<std::size_t>(i)]; }

  void record(std::string kind, json::object body) { out.actions.push_back(Record{std::move(kind), std::move(body)}); }
  void wait(Waiting what, std::string why) {
    if (out.waiting == Waiting::nothing) out.waiting = what, out.why = std::move(why);
  }
  void wake(WallTime when) {
    if (!out.wake || when < *out.wake) out.wake = when;
  }
  bool any_busy() const {
    for (const auto& one : state.once)
      if (one.busy) return true;
    for (const auto& s : state.stages()) {
      int idle = 0;
      for (const auto& set : s.idle) idle += static_cast<int>(set.size());
      if (idle < s.total) return true;
    }
    return false;
  }
};

// Of a rollout that goes back, until every host that it switched is back or given up.
Decision decide_back(const RolloutState& state, const DecideInput& in);

}  // namespace ripcord
