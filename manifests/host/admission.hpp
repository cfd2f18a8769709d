// Who may change this unit (promise 8).
#pragma once
#include <string>

#include "manifests/host/history.hpp"
#include "manifests/host/lock.hpp"

namespace ripcord {

// HostFailure fenced when `epoch` is lower than what this host has seen, or the same with another holder; a higher one is journalled
// (FENCE, with `reason`) before this returns. `forward`: also refuses a ledger other than the one this host's journal knows.
void admit(HostContext& host, const UnitLock& lock, Journal& journal, std::int64_t epoch, const std::string& holder,
           const std::string& ledger_id, bool forward, json::object reason = {});

// For a rollback that is not by this host's own ledger: HostFailure never_confirmed unless `to` ran here once.
void admit_target(const UnitLock& lock, const UnitHistory& history, const std::optional<ReleaseId>& to, const std::string& ledger_id);

// Words that become parts of file names and journal records. HostFailure bad_request.
void check_operation_id(const std::string& op);

}  // namespace ripcord
