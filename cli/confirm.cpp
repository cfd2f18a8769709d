#include "cli/confirm.hpp"

#include <fmt/format.h>

#include "core/base/text.hpp"

namespace ripcord::cli {

void Confirmation::declare(Arguments& a, bool with_fleet_name) {
  a.flag("-y,--yes", yes, "do not ask");
  if (with_fleet_name) a.value("--fleet-name", fleet_name, "NAME", "for a protected fleet: its name, instead of typing it");
}

void confirm(Context& c, const Confirmation& given, const std::string& question, bool protect) {
  const auto& fleet = c.fleet();
  auto& out = c.out();
  if (protect && fleet.is_protected) {
    auto name = given.fleet_name;
    if (!name) {
      if (!out.can_ask())
        throw Error(fmt::format("fleet '{}' is protected, and there is no terminal to ask at", fleet.name),
                    "name it with --fleet-name " + shell_quote(fleet.name) + "; nothing was changed", Exit::refused);
      name = out.ask(fmt::format("fleet '{}' is protected; type its name to go on: ", fleet.name));
    }
    if (*name != fleet.name)
      throw Error(fmt::format("this is fleet '{}', not '{}'", fleet.name, *name), "nothing was changed", Exit::refused);
  }
  if (given.yes) return;
  if (!out.can_ask())
    throw Error("not confirmed, and there is no terminal to ask at", "say -y to go on without a question; nothing was changed",
                Exit::refused);
  auto answer = out.ask(question + " [y/N] ");
  if (answer != "y" && answer != "Y" && answer != "yes") throw Error("not confirmed", "nothing was changed", Exit::refused);
}

}  // namespace ripcord::cli
