// `current`, moved the atomic way: a new link under another name, renamed over it, folder fsynced. Never follows it.
#pragma once
#include <string>

#include "manifests/host/layout.hpp"

namespace ripcord {

void make_link(const std::string& path, const std::string& target);                    // replaces a left-over of that name
void rename_to_current(const UnitLayout& unit, const std::string& link);               // and fsync. HostFailure
void remove_current(const UnitLayout& unit);                                           // a link only; absent is fine
// .next-* and .back-* links of operations that are over (all but those of `keep_op`).
void remove_stale_links(const UnitLayout& unit, const std::string& keep_op);

}  // namespace ripcord
