// Differences of two texts, line by line, as diff -u prints them; and what of it may be shown.
#pragma once
#include <string>
#include <string_view>

namespace ripcord {

// Without a header; three lines of context. "" when they are the same; one sentence when they are too long or no texts.
std::string unified_diff(std::string_view expected, std::string_view found);
// Writes *** behind what is named like a secret (password, token, …) in assignments: `db_password = ***`. What a person typed into a
// file on a host is in no secret file that could be masked by content.
std::string mask_assignments(const std::string& text);

}  // namespace ripcord
