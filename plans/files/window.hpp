// When new activations may start: days and hours in a time zone. Never holds a rollback.
#pragma once
#include <optional>
#include <set>
#include <string>

#include "core/base/clock.hpp"
#include "core/base/json.hpp"

namespace ripcord {

struct Window {
  std::set<int> days;          // 0 = Sunday .. 6 = Saturday
  int from_minute = 9 * 60;    // of the day, inclusive
  int to_minute = 16 * 60;     // exclusive
  std::string timezone = "UTC";  // IANA name

  bool open(WallTime now) const;
  WallTime next_open(WallTime now) const;  // now itself when open
  std::string text() const;                // "mon-fri 09:00-16:00 Europe/Berlin"
};

Window working_hours(const std::string& timezone);  // mon-fri 09:00-16:00
std::string local_timezone();                       // of this machine: $TZ, /etc/timezone, /etc/localtime, else UTC
bool known_timezone(const std::string& name);
json::object to_json(const Window& w);
Window window_from_json(const json::object& o);

}  // namespace ripcord
