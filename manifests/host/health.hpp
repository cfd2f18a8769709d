// Health checks on the host itself.
#pragma once
#include <functional>

#include "manifests/host/running.hpp"

namespace ripcord {

// One round: services that have ended, then every check in the unit's order; the first that fails. step "health".
// `limit` bounds all of it, besides each check's own timeout.
StepOutcome check_health(const ReleaseContext& release, Millis limit);

// After a restart: rounds until every check has passed without a gap for min_healthy_time and the running check passes, or
// healthy_deadline has passed since `begin`. A run: service that has ended fails at once. `each_round` may throw to end it.
StepOutcome watch_health(const ReleaseContext& release, const RunningRule& rule, const Health& timing, Elapsed begin,
                         const std::function<void()>& each_round);

}  // namespace ripcord
