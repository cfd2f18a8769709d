// A rollout as one JSON object: what `status -o json` and the end of `apply -o json` print (docs/cli.md names the members).
#pragma once
#include "cli/view/words.hpp"
#include "core/base/error.hpp"

namespace ripcord::cli {

json::object rollout_json(const RolloutState& state, const Runner& runner, Exit exit, WallTime now);

}  // namespace ripcord::cli
