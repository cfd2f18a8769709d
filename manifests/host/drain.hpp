// Drained hosts are noted before they are drained (<state>/units/<unit>/drained), so that every way out can undrain them.
#pragma once
#include "manifests/host/release_context.hpp"
#include "manifests/host/step_gate.hpp"

namespace ripcord {

void note_drained(HostContext& host, const UnitLayout& unit, const std::string& op);
bool is_drained(const UnitLayout& unit);
// The helper that drained it is still alive and has not armed anything yet: leave it alone.
bool drainer_is_alive(const HostContext& host, const UnitLayout& unit);
// Runs the undrain of the release that is current now, and forgets the note. No note, no undrain action: nothing. What failed stays
// noted and is tried again by the next recover().
StepOutcome undrain(HostContext& host, const UnitLayout& unit, const UnitLock& lock, const UnitHistory& history);

}  // namespace ripcord
