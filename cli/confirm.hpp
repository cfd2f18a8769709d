// Asking before a change. Never without a terminal: exit 8 names the flag that answers.
#pragma once
#include <optional>
#include <string>

#include "cli/args.hpp"
#include "cli/context.hpp"

namespace ripcord::cli {

struct Confirmation {
  bool yes = false;                       // -y
  std::optional<std::string> fleet_name;  // --fleet-name, for protected fleets
  void declare(Arguments& a, bool with_fleet_name);
};

// Returns when it may go on; Error(Exit::refused) otherwise. `protect`: a protected fleet asks for its name.
void confirm(Context& context, const Confirmation& given, const std::string& question, bool protect);

}  // namespace ripcord::cli
