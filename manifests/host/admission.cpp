#include "manifests/host/admission.hpp"

#include <fmt/format.h>

#include "manifests/shared/ledger_name.hpp"

namespace ripcord {

void admit(HostContext& host, const UnitLock& lock, Journal& journal, std::int64_t epoch, const std::string& holder,
           const std::string& ledger_id, bool forward, json::object reason) {
  UnitHistory h = fold(journal.records());
  bool seen_any = h.epoch > 0 || !h.holder.empty();
  if (seen_any && (epoch < h.epoch || (epoch == h.epoch && holder != h.holder)))
    throw HostFailure("fenced", fmt::format("this host has seen epoch {} of '{}'; epoch {} of '{}' may not change it any more", h.epoch,
                                            escape_terminal(h.holder), epoch, escape_terminal(holder)),
                      "another ripcord took over; look at the rollout's status");
  if (forward && !h.ledger_id.empty() && !ledger_id.empty() && h.ledger_id != ledger_id)
    throw HostFailure("fenced", fmt::format("unit '{}' of this host belongs to {}, not to {}", lock.unit(),
                                            escape_terminal(ledger_text(h.ledger_id)), escape_terminal(ledger_text(ledger_id))),
                      fmt::format("deploy from there, or take it over: ripcord adopt {} -m WHY", lock.unit()));
  if (epoch <= h.epoch && seen_any) return;
  reason["epoch"] = epoch, reason["holder"] = holder, reason["ledger_id"] = h.ledger_id.empty() ? ledger_id : h.ledger_id;
  journal.append(host, lock, "FENCE", std::move(reason));
}

// A rollback asks for no ledger, so what it may reach without one is what this host has proven before.
void admit_target(const UnitLock& lock, const UnitHistory& h, const std::optional<ReleaseId>& to, const std::string& ledger_id) {
  if (!to || h.ledger_id.empty() || h.ledger_id == ledger_id || h.once_confirmed(*to)) return;
  throw HostFailure("never_confirmed", fmt::format("release {} of unit '{}' was never confirmed on this host, and only the ledger '{}' that it "
                                                   "belongs to may bring it something new", to->folder(), lock.unit(), escape_terminal(h.ledger_id)),
                    "pull the cord from a machine that has that ledger, or go back to a release that ran here");
}

void check_operation_id(const std::string& op) {
  bool good = !op.empty() && op.size() <= 100 && op[0] != '.';
  for (unsigned char c : op) good = good && (isalnum(c) || c == '.' || c == '_' || c == '-');
  if (!good)
    throw HostFailure("bad_request", fmt::format("'{}' is not an operation id: letters, digits, '.', '_' and '-', at most 100",
                                                 escape_terminal(op.substr(0, 120))));
}

}  // namespace ripcord
