// Reading hosts for people: what a host runs, in one word or two, and how to say that it did not answer.
#pragma once
#include <string>
#include <vector>

#include "cli/context.hpp"
#include "cli/view/style.hpp"
#include "plans/hosts/host_look.hpp"

namespace ripcord::cli {

// The hosts that a command's --limit selects; all without one. Error(Exit::refused) when it selects none.
std::vector<const Host*> limited(Context& context, const std::optional<std::string>& limit);

inline constexpr std::size_t kLookWidth = 64;  // hosts being looked at, at once

// Where a unit lives, as far as a release of it is known here.
UnitRef unit_ref(Context& context, const std::string& unit);
// As look_at. Who has not answered after a while is named, so that nobody wonders what the command waits for.
std::vector<HostLook> look_aloud(Context& context, std::vector<const Host*> hosts, UnitRef unit, Verify verify, bool process);
// Looks at hosts for one unit ("" : none, only to say hello).
std::vector<HostLook> look_for_unit(Context& context, std::vector<const Host*> hosts, const std::string& unit, Verify verify, bool process);

// Whether the store or the ledger here has ever heard of it.
bool knows_unit(Context& context, const std::string& unit);
// Error(Exit::refused) when nobody knows the unit: neither the store nor the ledger, nor any of the hosts, which all answered.
void refuse_unknown_unit(Context& context, const std::string& unit, const std::vector<HostLook>& looks);

// "1.1", "nothing", "a folder, not a link", "1.1 (damaged)", "1.1 (not confirmed)".
Table::Cell running_cell(const Observation& seen);
json::object look_json(const HostLook& look);

}  // namespace ripcord::cli
