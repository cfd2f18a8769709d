// Changing a known_hosts file: pure, text in and text out. Lines that say nothing about the name stay byte for byte.
#pragma once
#include <string>
#include <string_view>

namespace ripcord {

std::string with_host_key(std::string text, std::string_view line);

// The key that line `number` holds for `name` is replaced by `line`. A line that names other hosts, too, goes on without this one. Error
// (Exit::refused) when the line is a pattern or is marked: that is for a person.
std::string with_other_host_key(std::string_view text, int number, std::string_view name, std::string_view line);

}  // namespace ripcord
