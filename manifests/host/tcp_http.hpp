// The two probes of a health check that speak TCP. Addresses are numeric or "localhost" (127.0.0.1, then ::1): a static program
// must not resolve names. Non-blocking sockets, one deadline for everything.
#pragma once
#include <string>

#include "core/base/files.hpp"
#include "core/base/text.hpp"

namespace ripcord {

struct TcpAddress {
  std::string host;  // without brackets
  int port = 0;
};
TcpAddress parse_tcp_address(const std::string& text);  // "127.0.0.1:80", "[::1]:80", "localhost:80"; Error otherwise

// Connects, or Error: "cannot connect to '127.0.0.1:80': Connection refused (ECONNREFUSED)".
Fd connect_tcp(const TcpAddress& address, Millis timeout);

struct HttpAnswer {
  int status = 0;
  std::string body;  // at most the first 64 KiB of the whole answer
};
// GET of a plain http URL; redirects are answers like others. Error when there is no complete, well-formed answer in time
// (with `need_body` false the header is enough).
HttpAnswer http_get(const std::string& url, Millis timeout, bool need_body);

}  // namespace ripcord
