// A halt, as everybody who must respect it holds it: a file on the controller, a file on each host, an entry of the ledger.
#pragma once
#include <string>

#include "core/base/json.hpp"

namespace ripcord {

struct Halt {
  std::string id;  // random; tells one halt from the next
  std::string who, machine, why;
  std::int64_t since_ms = 0;

  // "halted by ana on ops-1 since 2026-11-20T12:00:00.000Z: disk melts". Not escaped.
  std::string text() const;
};

json::object to_json(const Halt& halt);
Halt halt_from_json(const json::object& o);

}  // namespace ripcord
