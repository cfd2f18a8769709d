// The two halves of what happens once: asking whether it was done, and doing it. Each returns the ledger entry of what came of it:
// once.done, once.failed or once.unknown. The engine writes once.intent between them.
#pragma once
#include "plans/ledger/rollout_spec.hpp"
#include "plans/rollout/once_runner.hpp"

namespace ripcord {

json::object once_entry(const RolloutSpec& spec, int index, std::string_view kind);
Task<json::object> ask_once(const RolloutSpec& spec, int index, OnceRunner* runner);  // `check`; unknown without one
Task<json::object> do_once(const RolloutSpec& spec, int index, OnceRunner* runner);   // `run`, and what `check` says of a failure

}  // namespace ripcord
