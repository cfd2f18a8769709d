// What a damaged release was before it was made whole again: hosts keep it as evidence and journal its folder (docs/host-layout.md).
#pragma once
#include <string>

#include "plans/hosts/host_port.hpp"

namespace ripcord {

// Of the newest release that was staged or mended after journal record `after`: the folder's path on the host. "": nothing was replaced.
Task<std::string> kept_tree(HostPort& port, UnitRef unit, std::int64_t after);
// The same for a sentence that is worth no failure: "; what was there is kept in …", or "".
Task<std::string> kept_tree_words(HostPort& port, UnitRef unit, std::int64_t after);

}  // namespace ripcord
