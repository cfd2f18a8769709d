#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "core/base/error.hpp"
#include "plans/rollout/deciding.hpp"

namespace ripcord {
namespace {

struct BackDecider : Deciding {
  // Every host this rollout activated, broken ones first, as wide as max_parallel and max_unavailable allow (never one by one: a rip cord
  // does not start slowly). Nobody else's failure stops it, nor a pause, window or halt.
  void roll_back() {
    if (stays()) return;
    int in_flight = 0;
    for (const auto& s : state.stages()) in_flight += s.in(HostPhase::returning) - static_cast<int>(s.idle[at(HostPhase::returning)].size());
    int width = 1;
    for (const auto& s : spec().stages) width = std::max(width, s.max_parallel);
    int room = std::max(0, width - in_flight);
    bool left = false;
    std::vector<std::map<std::string, int>> leaving;  // by stage and domain
    for (const auto& s : state.stages()) leaving.push_back(s.leaving);
    for (HostPhase p : {HostPhase::failed, HostPhase::returning, HostPhase::activating, HostPhase::unknown, HostPhase::unreachable,
                        HostPhase::confirmed})
      for (int n = 0; n < static_cast<int>(state.stages().size()); ++n) {
        for (int i : stage(n).idle[at(p)]) {
          if (!host(i).switched || gave_up(i)) continue;
          left = true;
          if (room == 0) continue;
          // Who serves goes out of service as its domain allows; who does not, at once.
          const int limit = p == HostPhase::confirmed ? stage_spec(n).max_unavailable : 0;
          int& down = leaving[static_cast<std::size_t>(n)][plan(i).domain];
          if (limit > 0 && down >= limit) continue;
          ++down;
          out.actions.push_back(GoBack{i}), --room;
        }
      }
    if (left || any_busy()) {
      wait(Waiting::work, "going back: " + state.rollback_why);
      return;
    }
    bool mixed = state.count(HostPhase::stuck) > 0, unknown = false;
    json::array owed;
    for (int i = 0; i < static_cast<int>(state.hosts().size()); ++i) {
      bool lost = gave_up(i);
      unknown = unknown || lost;
      if (lost || host(i).phase == HostPhase::stuck) owed.push_back(json::value(plan(i).name));
    }
    Exit code = mixed ? Exit::mixed : unknown ? Exit::unreachable : Exit::failed;
    std::string why = state.rollback_why;
    for (int i : state.drained) {  // where it belongs, and yet a person has to look
      why += fmt::format("; {} is back and not in service: {}", plan(i).name, host(i).drained);
      code = worst(code, Exit::mixed);
    }
    if (!state.distrusted.empty()) code = worst(code, Exit::integrity);
    record("rollout.ended", {{"outcome", mixed || unknown ? "needs_person" : "rolled_back"},
                             {"exit", static_cast<int>(code)},
                             {"why", why},
                             {"owed", std::move(owed)}});
  }

  // Past a point of no return what is replaced cannot read what was written: going back would break what now works.
  bool stays() {
    json::array left;
    for (int i = 0; i < static_cast<int>(state.hosts().size()) && !spec().no_return.empty(); ++i)
      if (host(i).switched) left.push_back(json::value(plan(i).name));
    if (left.empty()) return false;
    auto why = fmt::format("{}; past the point of no return {} nothing goes back", state.rollback_why, join(spec().no_return, ", "));
    if (any_busy()) wait(Waiting::work, why);
    else record("rollout.ended", {{"outcome", "needs_person"}, {"exit", static_cast<int>(Exit::mixed)}, {"why", why}, {"owed", std::move(left)}});
    return true;
  }

  // One automatic attempt to bring back a host that does not answer (it lasts until its dead-man switch must have fired); after
  // that it is left as it is, named and owed.
  bool gave_up(int i) const {
    return (host(i).phase == HostPhase::unknown || host(i).phase == HostPhase::unreachable) && host(i).back_attempts > 0;
  }
};

}  // namespace

Decision decide_back(const RolloutState& state, const DecideInput& in) {
  BackDecider d{{state, in}};
  d.roll_back();
  return std::move(d.out);
}

}  // namespace ripcord
