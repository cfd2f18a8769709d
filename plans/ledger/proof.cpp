#include "plans/ledger/proof.hpp"

#include <algorithm>

namespace ripcord {

json::object to_json(const Proof& p) {
  return {{"from", p.from.hex()},
          {"to", p.to.hex()},
          {"from_version", p.from_version},
          {"to_version", p.to_version},
          {"host", p.host},
          {"datacenter", p.datacenter},
          {"at", format_utc(p.at)},
          {"forward_ms", p.forward.count()},
          {"back_ms", p.back.count()}};
}

Proof proof_from_json(const json::object& o) {
  Proof p;
  p.from = Digest::require(get_string(o, "from"));
  p.to = Digest::require(get_string(o, "to"));
  p.from_version = get_string(o, "from_version");
  p.to_version = get_string(o, "to_version");
  p.host = get_string(o, "host");
  p.datacenter = get_string(o, "datacenter");
  p.at = parse_utc(get_string(o, "at"));
  p.forward = Millis(get_int(o, "forward_ms"));
  p.back = Millis(get_int(o, "back_ms"));
  return p;
}

std::vector<Proof> all_proofs(const std::vector<LedgerEntry>& entries, const std::string& unit) {
  std::vector<Proof> out;
  for (const auto& e : entries)
    if (get_string_or(e.body, "kind", "") == "rollback.proof" && (unit.empty() || get_string_or(e.body, "unit", "") == unit))
      out.push_back(proof_from_json(e.body));
  return out;
}

std::vector<Proof> standing_proofs(const std::vector<LedgerEntry>& entries, const std::string& unit) {
  std::vector<Proof> out;
  auto forget = [&](const Digest& from, const Digest& to) {
    std::erase_if(out, [&](const Proof& p) { return p.from == from && p.to == to; });
  };
  for (const auto& e : entries) {
    if (!unit.empty() && get_string_or(e.body, "unit", "") != unit) continue;
    const auto kind = get_string_or(e.body, "kind", "");
    if (kind == "rollback.proof") {
      auto proof = proof_from_json(e.body);
      forget(proof.from, proof.to);
      out.push_back(std::move(proof));
    } else if (kind == "drill.disproved" || (kind == "host.stuck" && get_bool_or(e.body, "rehearsal", false))) {
      forget(Digest::require(get_string(e.body, "from")), Digest::require(get_string(e.body, "to")));
    }
  }
  return out;
}

}  // namespace ripcord
