#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>

#include <string>

namespace ripcord::test {

inline sockaddr_in address_of(const std::string& ip, int port) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(static_cast<std::uint16_t>(port));
  ::inet_pton(AF_INET, ip.c_str(), &a.sin_addr);
  return a;
}

}  // namespace ripcord::test
