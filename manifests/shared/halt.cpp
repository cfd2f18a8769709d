#include "manifests/shared/halt.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/clock.hpp"

namespace ripcord {

std::string Halt::text() const {
  return fmt::format("halted by {} on {} since {}{}", who, machine, format_utc({since_ms}), why.empty() ? "" : ": " + why);
}

json::object to_json(const Halt& h) {
  return {{"id", h.id}, {"who", h.who}, {"machine", h.machine}, {"why", h.why}, {"since_ms", h.since_ms}};
}

Halt halt_from_json(const json::object& o) {
  constexpr std::int64_t kYear3000 = 32503680000000;
  return {get_string(o, "id"), get_string_or(o, "who", ""), get_string_or(o, "machine", ""), get_string_or(o, "why", ""),
          std::clamp<std::int64_t>(get_int_or(o, "since_ms", 0), 0, kYear3000)};
}

}  // namespace ripcord
