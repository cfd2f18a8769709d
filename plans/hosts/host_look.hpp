// What a host says of itself when it is asked, or why it said nothing: the facts that every decision about it starts from.
#pragma once
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "plans/files/fleet.hpp"
#include "plans/hosts/host_port.hpp"

namespace ripcord {

struct HostLook {
  const Host* host = nullptr;
  std::optional<Look> look;           // absent: see fault
  std::string fault_name, fault, hint;  // LinkError: name, text, what to do
  LinkFault fault_kind = LinkFault::unreachable;
};

// Looks at hosts, at most `width` at once. Order as given. Never throws for a host. `unanswered`: kept up to date meanwhile, by name.
Task<std::vector<HostLook>> look_at(Loop& loop, HostPorts& ports, std::vector<const Host*> hosts, UnitRef unit, Verify verify,
                                    bool check_process, std::size_t width, std::set<std::string>* unanswered = nullptr);

}  // namespace ripcord
