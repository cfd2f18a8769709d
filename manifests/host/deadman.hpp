// The dead-man switch: who brings the host back when nobody confirms (docs/activation.md, "The dead-man switch").
//
// weak: `ripcord-host deadman`, a process of its own session that holds a CLOCK_BOOTTIME timer, looks each second whether it is
// still wanted, and acts at the deadline. strong: a transient timer of systemd, and a unit that recovers at boot.
#pragma once
#include <string>

#include "manifests/host/pending.hpp"

namespace ripcord {

// Writes `pending` durably (with the process that waits in it) and arms; returns when the switch acknowledged. HostFailure
// cannot_arm; then nothing is armed and the record is gone.
void arm(HostContext& host, const UnitLayout& unit, Pending& pending);
// Best effort: a switch that lives on finds its operation ended and goes.
void disarm(const HostContext& host, const Pending& pending);
// weak: is its process alive?
bool is_armed(const HostContext& host, const Pending& pending);

}  // namespace ripcord
