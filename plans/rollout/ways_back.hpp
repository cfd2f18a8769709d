// The ways back that a rollout makes necessary: from its release to each that it replaces. A part of preflight.
#pragma once
#include "plans/rollout/preflight.hpp"

namespace ripcord {

// Fills ways_back and no_way_back: which are proven by a rehearsal that still holds, which are waived by name (--unproven), and which
// host of the first stage walks each of the others.
void judge_ways_back(Preflight& out, const Fleet& fleet, const Plan& plan, const ReleaseOnHand& release, const PreflightOptions& options, WallTime now);

}  // namespace ripcord
