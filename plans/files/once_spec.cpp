#include "plans/files/once_spec.hpp"

namespace ripcord {

json::object to_json(const OnceSpec& o) {
  return {{"stage", o.stage},
          {"before", o.before},
          {"run", to_json_array(o.run)},
          {"check", to_json_array(o.check)},
          {"deadline_ms", o.deadline.count()}};
}

OnceSpec once_from_json(const json::object& o) {
  OnceSpec s;
  s.stage = static_cast<int>(get_int(o, "stage"));
  s.before = get_string(o, "before");
  s.run = get_strings(o, "run");
  s.check = get_strings(o, "check");
  s.deadline = Millis(get_int(o, "deadline_ms"));
  return s;
}

}  // namespace ripcord
