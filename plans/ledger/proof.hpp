// Rollback proofs: which ways back were walked, on which host, when and how long each way took. A proof holds for one pair of
// manifests; another manifest is another proof. It is an entry of the ledger (`rollback.proof`), written when a host has gone
// forward, back and forward again, and every step was verified.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "core/base/clock.hpp"
#include "core/base/json.hpp"
#include "core/net/ledger.hpp"
#include "manifests/shared/messages.hpp"

namespace ripcord {

struct Proof {
  Digest from, to;             // manifests: the way back is the one from `to` to `from`
  std::string from_version, to_version;
  std::string host, datacenter;
  WallTime at;
  Millis forward{0}, back{0};  // what each way took

  bool holds(WallTime now, Millis valid) const { return now < at + valid; }
};

json::object to_json(const Proof& proof);
Proof proof_from_json(const json::object& o);  // also of a ledger entry `rollback.proof`

// The newest proof of each pair of a unit's manifests ("": any unit), expired ones too; none of a pair on whose way back a host got
// stuck since (`host.stuck` with `rehearsal`), or a drill found that it does not work (`drill.disproved`).
std::vector<Proof> standing_proofs(const std::vector<LedgerEntry>& entries, const std::string& unit);
// Every proof ever written, oldest first.
std::vector<Proof> all_proofs(const std::vector<LedgerEntry>& entries, const std::string& unit);

}  // namespace ripcord
