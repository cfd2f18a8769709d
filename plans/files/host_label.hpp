// The value of a host's label; empty when it has none of that name, or none is asked for. By it hosts are grouped and failure domains kept.
#pragma once
#include <string>

#include "plans/files/fleet.hpp"

namespace ripcord {

inline std::string label_of(const Host& host, const std::string& label) {
  auto found = host.labels.find(label);
  return found == host.labels.end() ? std::string() : found->second;
}

}  // namespace ripcord
