// What people write for "only these hosts": a selector, or the names of hosts, "web-1,web-2", which in a selector could never match
// together. Names are told from labels by the fleet file, so this is the command line's business and no selector of a sealed file changes.
#pragma once
#include <string>
#include <vector>

#include "plans/files/fleet.hpp"
#include "plans/files/selector.hpp"

namespace ripcord::cli {

// The hosts of the list that `text` is; empty: it is none. One name alone is one.
std::vector<std::string> listed_hosts(const Fleet& fleet, const std::string& text);
Selector parse_limit(const Fleet& fleet, const std::string& text);
// For a selector that matched nobody: the word that no host and no label has, or how lists and labels are written.
std::string no_match_hint(const Fleet& fleet, const std::string& text);

}  // namespace ripcord::cli
