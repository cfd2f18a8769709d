// Runs the engine in this terminal: a view of it, signals that pause it, and the end read back from the ledger.
#pragma once
#include "cli/context.hpp"
#include "cli/view/view.hpp"
#include "plans/rollout/engine.hpp"
#include "plans/rollout/preflight.hpp"

namespace ripcord::cli {

struct RunOptions {
  bool no_wait = false;
  bool take_over = false;
  bool detach = false;        // go on in a process of its own
  std::int64_t seen = -1;     // the ledger's size when the hosts were looked at
};

// A new rollout, or one that is open (any paused state is resumed with `why`). The exit code is the rollout's, or 128 + the signal
// that paused it. `packs`: where the release's objects come from; null: the store.
Exit start_rollout(Context& context, const ReleaseOnHand& release, RolloutSpec spec, std::int64_t epoch_at_least, RunOptions options,
                   PackSource* packs = nullptr);
Exit resume_rollout(Context& context, RolloutState state, std::string why, RunOptions options);

Runner runner_of(Context& context, const std::string& unit);
// Error(Exit::refused) naming the units that are known, when `unit` has no rollout.
RolloutState require_open_rollout(Context& context, const std::string& unit);

}  // namespace ripcord::cli
