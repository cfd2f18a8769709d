// A TCP connection to a name or an address, made without blocking the loop and inside a deadline.
#pragma once
#include <string>
#include <vector>

#include "core/base/files.hpp"
#include "core/net/link.hpp"

namespace ripcord {

// Connected, non-blocking, TCP_NODELAY. Tries the name's addresses in turn. `who` is for messages.
// LinkError no_address, connect_refused, no_route, connect_timeout.
Task<Fd> connect_tcp(Loop& loop, Clock& clock, std::string who, std::string host, int port, Elapsed deadline);

// After every receive: without it the kernel delays acknowledgements by 40 ms, twice a connection.
void quick_ack(int fd);

}  // namespace ripcord
