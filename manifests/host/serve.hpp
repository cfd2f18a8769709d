// `ripcord-host serve`: one session on two descriptors (docs/protocol.md). Requests are done in order; an exception of one is its
// reply, and the session goes on. Bytes that are no frame end it.
#pragma once
#include "core/base/text.hpp"
#include "manifests/host/host_context.hpp"

namespace ripcord {

inline constexpr Millis kIdle{600000};

// Returns the exit status: 0 at the end of input or after `bye`, 1 when the peer does not speak the protocol.
int serve(HostContext host, int in, int out, Millis idle = kIdle);

}  // namespace ripcord
