// For the person who comes to a host that needs one: the exact commands to look with, and how to go on.
#pragma once
#include <string>

#include "manifests/host/release_context.hpp"

namespace ripcord {

// "to look: readlink /srv/web/current; tail -n 50 ...". `release`: what should run; null: nothing, or it cannot be read.
std::string how_to_look(const UnitLayout& unit, const ReleaseContext* release);

}  // namespace ripcord
