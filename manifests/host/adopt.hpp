// Giving a unit of this host into another ledger's hands: the one way past the refusal in admission.hpp.
#pragma once
#include "manifests/host/activation.hpp"

namespace ripcord {

struct Adoption {
  std::int64_t epoch = 0;      // higher than any seen here: whoever worked for the first ledger is fenced off
  std::string holder, ledger_id, who, why;
};
// Journalled (FENCE with adopted_from) when it returns; the ledger id it was before, "" for none. HostFailure fenced.
std::string adopt(HostContext& host, const UnitRef& ref, const Adoption& adoption);

}  // namespace ripcord
