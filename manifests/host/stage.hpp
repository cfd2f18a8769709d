// Bringing a release beside the running one (INVARIANTS a1): files into a staging folder, everything durable, metadata into place,
// then one rename to the final name. Nothing partial ever has a final name; what a dead session left is removed by the next.
#pragma once
#include <functional>
#include <optional>
#include <string>

#include "manifests/host/host_context.hpp"
#include "manifests/host/offer.hpp"

namespace ripcord {

// One offer of a session, between stage_offer and stage_pack.
struct OpenOffer {
  StageOffer offer;
  PreparedRelease prepared;
  std::optional<Owner> mending;  // of a release that is here already: made whole as it was, with this owner
};

// Writes nothing, except LABELS when a complete release came with other labels than the journal knows (and not when read-only).
StageReply stage_offer(HostContext& host, const StageOffer& offer, std::optional<OpenOffer>& open);

// Opens an offer of a release that this host knows, from what is recorded about it here: every byte is hashed, and what is lacking
// comes by stage_pack. HostFailure missing_release when nothing that can be read is recorded: stage_offer brings it anew.
StageReply mend(HostContext& host, const UnitRef& ref, const ReleaseId& id, std::optional<OpenOffer>& open);

// `next_part`: the pack's next bytes, nullopt at its end. The reply is complete.
// HostFailure no_space, read_only, missing_objects, bad_request (a damaged pack), no_user, conflict, busy.
StageReply stage_pack(HostContext& host, OpenOffer& open, const std::function<std::optional<std::string>()>& next_part);

}  // namespace ripcord
