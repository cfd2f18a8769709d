// The big red switch on this host (promise 10): a durable flag. While it is there no forward operation begins. Confirm and finish of
// what began before, going back and the dead-man never look at it.
#pragma once
#include <optional>

#include "core/base/files.hpp"
#include "manifests/host/host_context.hpp"
#include "manifests/shared/halt.hpp"

namespace ripcord {

// A flag that cannot be read is a flag: it says so in `why`.
std::optional<Halt> halt_flag(const HostContext& host);

// Durable, and no forward operation that had passed the gate before is still on its way to its switch, when it returns. HostFailure
// busy: the flag is set, but such an operation did not come through within `wait`.
void raise_halt(HostContext& host, const Halt& halt, Millis wait = Millis(10000));
// What was lifted.
std::optional<Halt> lift_halt(HostContext& host);

// Held by a forward operation from before its INTENT until its switch is journalled, so that raise_halt can wait for those that were
// there first. HostFailure halted.
class ForwardGate {
 public:
  explicit ForwardGate(HostContext& host);

 private:
  Fd fd_;
};

}  // namespace ripcord
