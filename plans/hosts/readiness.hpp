// Readiness: could the fleet go back now? Counted from looks with the way back verified (HostPort::look_back, or what a drift scan
// told); pure, so that drift scans, `doctor --rollback` and `hosts` say the same.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "plans/hosts/host_look.hpp"

namespace ripcord {

enum class BackState {
  ready,        // the release is there, whole
  damaged,      // there, and not what it should be: pulling the cord mends it first, if anybody has what is lacking
  missing,      // not there: pulling the cord brings it first, likewise
  none,         // nothing to go back to: what runs was not brought by a rollout, or was brought back already
  unknown,      // the host did not answer
};
inline constexpr BackState kBackStates[] = {BackState::ready, BackState::damaged, BackState::missing, BackState::none, BackState::unknown};
std::string_view to_text(BackState state);

struct HostReadiness {
  std::string host;
  BackState state = BackState::unknown;
  std::string to;                    // version; "nothing"; "" when there is none
  Millis takes{0};                   // as long as bringing it up took last; 0: not known
  std::string why;                   // of all but ready: the first finding
};

struct Readiness {
  std::vector<HostReadiness> hosts;  // in the order of the looks
  std::size_t ready = 0, of = 0;     // of: hosts that have something to go back to, or did not answer
  std::map<std::string, std::size_t> to;  // version -> hosts that are ready
  Millis takes{0};                   // all of them, `width` at once
  Exit exit = Exit::done;            // mixed: some way back is damaged or missing; unreachable: some host did not answer
  std::size_t count(BackState state) const;
  std::string text() const;          // "11 of 12 hosts can go back now, to 1.0, in about 4s; 1 damaged"
};
Readiness readiness(const std::vector<HostLook>& looks, int width = 64);

// Looks at the way back of each host and nothing else. full: every byte is hashed. Never throws for a host.
Task<std::vector<HostLook>> look_back_at(Loop& loop, HostPorts& ports, std::vector<const Host*> hosts, UnitRef unit, Verify how, std::size_t width);

}  // namespace ripcord
