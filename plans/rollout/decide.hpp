// What to do next: all policy of a rollout (stages, window, slow start, budgets, failure, going back) as one pure function of the
// folded state and the time. No clock, no I/O, no randomness. The engine performs what it says and appends what came of it.
#pragma once
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "plans/ledger/rollout_state.hpp"

namespace ripcord {

struct StageRelease { int host; };            // bring the release beside the running one
struct Activate { int host; };                // intent, activate, health, confirm
struct Resolve { int host; };                 // intent was written and the outcome is not known: ask by operation id
struct GoBack { int host; bool rehearsal = false; };  // return this host to `from`; rehearsal: verified, and forward again after it
struct Lapse { int host; };                   // of a drill: forward, and not confirmed
struct RunOnce { int once; bool check_only; };  // check_only: an intent without an outcome
struct CheckHealth { std::vector<int> hosts; };  // one round on hosts of a baking stage
struct Record { std::string kind; json::object body; };  // a transition of the rollout itself, to be appended
using NextAction = std::variant<StageRelease, Activate, Resolve, GoBack, Lapse, RunOnce, CheckHealth, Record>;

std::optional<int> host_of(const NextAction& action);  // that it is about, if it is about one

// Why nothing (more) starts now.
enum class Waiting { nothing, work, bake, approval, window, paused, halted, ended };

struct Decision {
  std::vector<NextAction> actions;
  std::optional<WallTime> wake;     // look again then, if nothing happens before
  Waiting waiting = Waiting::nothing;
  bool silence = false;             // hosts that say nothing are what is waited for: worth a line of its own
  std::string why;                  // for people: "baking until 12:30", "outside the window mon-fri 09:00-16:00 …"
};

struct DecideInput {
  WallTime now;
  WallTime last_health_round;       // when the newest complete one of this process ended; ms = 0: none yet
  int max_staging = 64;             // hosts being staged at once
  std::vector<int> silent;          // asked to take the release a while ago, and nothing heard of them since
  bool stopping = false;            // a signal came: start nothing, let what runs end
};

Decision decide(const RolloutState& state, const DecideInput& in);

// How often a bake looks at its hosts.
Millis health_round_interval(Millis bake);
inline constexpr int kHealthMisses = 2;  // rounds in a row before a baking host counts as failed (persistent errors only)

}  // namespace ripcord
