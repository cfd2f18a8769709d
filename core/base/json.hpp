// Boost.JSON with getters that turn missing or mistyped members into an Error naming the member.
// Used for everything that crosses a boundary (wire frames, journal, ledger, plan files): none of it is trusted.
#pragma once
#include <boost/json.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ripcord {

namespace json = boost::json;

// Parses one JSON document, at most 32 levels deep, strict UTF-8. `what` names it in the error.
json::value parse_json(std::string_view text, std::string_view what);
json::object parse_json_object(std::string_view text, std::string_view what);

// Required members. Throw Error("<what>: member '<key>' is missing" | "... is not a <type>").
const json::value& member(const json::object& o, std::string_view key);
std::string get_string(const json::object& o, std::string_view key);
std::int64_t get_int(const json::object& o, std::string_view key);
bool get_bool(const json::object& o, std::string_view key);
const json::object& get_object(const json::object& o, std::string_view key);
const json::array& get_array(const json::object& o, std::string_view key);
std::vector<std::string> get_strings(const json::object& o, std::string_view key);

// Optional members: the fallback when absent or null; still an Error when present with another type.
std::string get_string_or(const json::object& o, std::string_view key, std::string_view fallback);
std::int64_t get_int_or(const json::object& o, std::string_view key, std::int64_t fallback);
bool get_bool_or(const json::object& o, std::string_view key, bool fallback);
const json::object* find_object(const json::object& o, std::string_view key);
const json::array* find_array(const json::object& o, std::string_view key);
std::vector<std::string> get_strings_or_empty(const json::object& o, std::string_view key);

json::array to_json_array(const std::vector<std::string>& items);

}  // namespace ripcord
