#include "plans/hosts/kept_tree.hpp"

#include <fmt/format.h>

#include "core/base/text.hpp"

namespace ripcord {

Task<std::string> kept_tree(HostPort& port, UnitRef unit, std::int64_t after) {
  json::object request{{"do", "journal"}, {"unit", unit.unit}, {"root", unit.root}, {"after", after}};
  json::object reply = co_await port.ask(std::move(request), Millis(60000));
  std::string folder;
  for (const auto& line : get_strings(reply, "records")) {
    auto record = parse_json_object(line, "a journal record");
    if (get_string_or(record, "kind", "") == "STAGED") folder = get_string_or(record, "replaced", "");
  }
  co_return folder.empty() ? "" : fmt::format("{}/{}/releases/{}", unit.root == "/" ? "" : unit.root, unit.unit, folder);
}

Task<std::string> kept_tree_words(HostPort& port, UnitRef unit, std::int64_t after) {
  std::string where;
  try {
    where = co_await kept_tree(port, std::move(unit), after);
  } catch (const Error&) {  // it is in the host's journal all the same
  }
  co_return where.empty() ? "" : "; what was there is kept in " + where;
}

}  // namespace ripcord
