// Giving a release away: another host, or a controller without the objects, gets them from here by digest.
#pragma once
#include <functional>
#include <string_view>
#include <vector>

#include "manifests/host/local_objects.hpp"
#include "manifests/shared/messages.hpp"

namespace ripcord {

// Which of these are here and intact.
std::vector<Digest> have_of(LocalObjects& objects, const std::vector<Digest>& asked);

// A pack of them, given to `part` in pieces of at most kMaxData. Error when one went bad since: the pack is then incomplete, and
// its reader notices.
void send_pack(LocalObjects& objects, const std::vector<Digest>& have, const std::function<void(std::string_view)>& part);

// HostFailure missing_release.
SealedManifest find_manifest(const UnitLayout& unit, const Digest& manifest);

}  // namespace ripcord
