// What is there, without touching it (promise 14).
#pragma once
#include "manifests/host/host_context.hpp"
#include "manifests/shared/messages.hpp"

namespace ripcord {

HelloReply hello(const HostContext& host, const std::string& deadman);

struct LookBack {       // also look at where a rollback would go, and whether it could
  Verify how = Verify::quick;
  std::string version;  // empty: where undoing the newest forward operation leads
};

// Reads only: no lock is taken, no cache rewritten. The caller executes an overdue revert first. With `process`, one round of
// health and the running check. HostFailure journal_damaged.
Observation observe(HostContext& host, const UnitRef& ref, Verify verify, bool process,
                    const std::optional<LookBack>& back = std::nullopt);

// At most 1,000 raw lines behind `after`.
std::vector<std::string> journal_lines(const HostContext& host, const UnitRef& ref, std::int64_t after);

}  // namespace ripcord
