// Durations, sizes and words, as people write and read them.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ripcord {

using Millis = std::chrono::milliseconds;

// "500ms", "10s", "5m", "1h30m", "24h", "14d". A unit is required; no sign, no fraction, no blanks. nullopt otherwise.
std::optional<Millis> parse_duration(std::string_view text);
std::string format_duration(Millis d);  // "24h", "1h30m", "4m10s", "1.25s", "80ms"; the two largest units

// "512", "64KiB", "5MiB", "2GiB" in bytes.
std::optional<std::uint64_t> parse_size(std::string_view text);
std::string format_size(std::uint64_t bytes);  // "812 B", "5.0 MiB"

// Makes bytes from a host or a file safe for a terminal: control characters, DEL, C1, bidi overrides and invalid UTF-8
// become visible escapes (\n -> "\\n" unless keep_newlines). Promise 18.
std::string escape_terminal(std::string_view text, bool keep_newlines = false);

// The candidate that a person most likely meant, by edit distance (at most a third of the word); nullopt if none is near.
std::optional<std::string> did_you_mean(std::string_view word, const std::vector<std::string>& candidates);

std::vector<std::string> split(std::string_view text, char separator);  // keeps empty parts
std::string join(const std::vector<std::string>& parts, std::string_view separator);
std::string_view trim(std::string_view text);
bool is_utf8(std::string_view text);

// Shell-style glob on one word: '*' and '?' only ('*' also crosses '/').
bool glob_match(std::string_view pattern, std::string_view text);

// One argument as a person could paste it into a shell: quoted only if it needs to be. For display only.
std::string shell_quote(std::string_view argument);

}  // namespace ripcord
