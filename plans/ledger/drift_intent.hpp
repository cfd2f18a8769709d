// What the ledger says each host should run, and how sure that is: a pure fold over all entries. The other half of drift is what
// the host's own journal says, which the host compares by itself (manifests/host/scan.hpp).
#pragma once
#include <map>
#include <string>
#include <vector>

#include "plans/ledger/rollout_state.hpp"

namespace ripcord {

struct Intent {
  enum class Standing {
    settled,  // a rollout or rollback ended with this host observed there
    moving,   // an open rollout is at it: what is there may be neither
    failed,   // the rollout ended, and this host did not take it
    away,     // the rollout ended without it: owed
  };
  Standing standing = Standing::settled;
  std::string folder;         // of the release; "": nothing
  Digest manifest;            // zero: not known (a rollback to a release that this ledger never rolled out)
  std::string root = "/srv";
  std::string rollout;        // that decided it, or the rollback's operation
  std::string reason;         // of failed and away
  std::int64_t seq = 0;       // of the newest entry about this host
  std::string host_id;        // as the host said when a rollout last looked at it; "": not known
  std::string version() const;  // "1.1" of "1.1-0123456789ab"
};

// unit -> host -> intent. Hosts that no rollout ever named are not in it.
using Intents = std::map<std::string, std::map<std::string, Intent>>;
Intents fold_intents(const std::vector<LedgerEntry>& entries);

}  // namespace ripcord
