// A small record in a file that already has its bytes: written in place, so that it can be written on a full disk. One slot holds
// one JSON object of at most kSlotSize - 1 bytes; a torn or damaged slot reads as none. For facts of one boot (process ids), where
// a lost record costs a look at /proc, not a promise.
#pragma once
#include <optional>
#include <string>

#include "core/base/json.hpp"

namespace ripcord {

inline constexpr std::size_t kSlotSize = 512;

void reserve_slot(const std::string& path);                          // creates it, empty and durable, if it is not there
void write_slot(const std::string& path, const json::object& value); // durable; creates it if need be. Error
std::optional<json::object> read_slot(const std::string& path);      // nullopt: none, empty or damaged

}  // namespace ripcord
