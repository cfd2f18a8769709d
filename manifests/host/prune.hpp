// Soft delete on a host: marks what may go, removes what was marked before and still may go (INVARIANTS 13). Releases first, then
// what damaged releases left as evidence, then host programs that nothing runs.
#pragma once
#include "manifests/host/host_context.hpp"
#include "manifests/shared/retention.hpp"

namespace ripcord {

// HostFailure read_only, busy, bad_request (rules weaker than the least, or clocks that differ by more than a day).
PruneReply prune(HostContext& host, const PruneRequest& request);

}  // namespace ripcord
