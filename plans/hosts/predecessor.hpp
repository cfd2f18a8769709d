// The release that hosts could go back to, brought to hosts that never had it, before they are brought to what came after it.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "plans/hosts/host_look.hpp"
#include "plans/hosts/host_objects.hpp"
#include "plans/hosts/release_on_hand.hpp"
#include "plans/hosts/supply.hpp"

namespace ripcord {

struct Predecessor {  // on one host
  std::string host;
  std::optional<ReleaseId> release;  // as it lies there
  bool sent = false;                 // it was not there before
  std::string failed;                // why it is not there
};
// Many hosts at once; never throws for a host.
Task<std::vector<Predecessor>> bring_predecessor(Loop& loop, Supplier& supplier, Digest manifest, std::vector<HostLook> looks);

// A release of which the store may have nothing: its manifest and templates from hosts, which is what planning needs.
Task<ReleaseOnHand> release_on_hand(ReleaseStore& store, HostObjects& objects, Digest manifest);

}  // namespace ripcord
