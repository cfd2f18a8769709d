// HostPort over a link: requests and replies of docs/protocol.md, one at a time a session. A session is opened by the first
// request (which travels with the hello, so it costs no round trip of its own) and reopened by the next after it broke.
#pragma once
#include <memory>

#include "plans/files/fleet.hpp"
#include "plans/hosts/host_port.hpp"

namespace ripcord {

// `link` and `fleet` outlive the result.
std::unique_ptr<HostPorts> make_wire_hosts(Loop& loop, Clock& clock, Link& link, const Fleet& fleet);

}  // namespace ripcord
