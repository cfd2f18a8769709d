// The question most incremental scans come down to, answered without a tree in memory: is a release's folder as it was when all of it
// was last found right? A yes is a clean result of walk_tree() with the noted stats; a no says nothing: look closely then.
#pragma once
#include <cstddef>
#include <optional>

#include "manifests/host/release_folder.hpp"

namespace ripcord {

// How many entries the release has, when every one has its type, mode and owner, links point where they should, nothing extra is
// there, and files and folders have the stat that was noted for them. One lstat an entry, one listing. Never throws.
std::optional<std::size_t> untouched(const UnitLayout& unit, const ReleaseId& id);

}  // namespace ripcord
