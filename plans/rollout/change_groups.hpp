// What a rollout changes on its hosts, said once for all hosts on which it is the same. A part of preflight.
#pragma once
#include <map>
#include <string>

#include "plans/rollout/preflight.hpp"

namespace ripcord {

// Fills groups and bytes_to_send, and finds hosts without the room. `looks`, `wanted`: by host; `wanted` are the trees to come.
void group_changes(Preflight& out, const ReleaseOnHand& release, const ReleaseStore& store, const std::map<std::string, const HostLook*>& looks,
                   const std::map<std::string, const Tree*>& wanted);

}  // namespace ripcord
