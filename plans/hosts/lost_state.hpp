// A host whose state folder was emptied while its unit's files stayed: `current` names one of our folders, and nothing is recorded about
// it. Its bytes could be brought anew; the processes that were started from there nobody knows any more, and a second copy of a service
// beside the first is worse than a host that waits for a person.
#pragma once
#include <string>

#include "manifests/shared/messages.hpp"

namespace ripcord {

// What a person does about it; "": it is no such host. `operations`: its journal knows of some.
std::string lost_state(Observation::Current current, const std::string& link_target, bool operations, const UnitRef& unit, const std::string& host);

}  // namespace ripcord
