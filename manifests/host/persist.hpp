// <unit_root>/shared/<p> for each persist: folder of a unit: made when missing, never changed when there.
#pragma once
#include "manifests/host/layout.hpp"
#include "manifests/host/offer.hpp"

namespace ripcord {

// Owner as the release's. A link on the way to one is refused (the service owns what is below, and we may be root); the folder
// itself may be whatever the host's owner made of it, a link to a larger disk for example. HostFailure bad_path.
void make_persist_folders(const UnitLayout& unit, const UnitSpec& spec, Owner owner);

}  // namespace ripcord
