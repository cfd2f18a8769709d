#include "manifests/host/adopt.hpp"

#include <fmt/format.h>

#include "core/base/text.hpp"
#include "manifests/host/history.hpp"
#include "manifests/host/lock.hpp"

namespace ripcord {

std::string adopt(HostContext& host, const UnitRef& ref, const Adoption& a) {
  if (host.read_only) throw HostFailure("read_only", "this session may only read");
  if (a.ledger_id.empty() || a.holder.empty()) throw HostFailure("bad_request", "adopt needs ledger_id and holder");
  UnitLayout unit = host.layout.unit(ref);
  UnitLock lock(host, unit, "adopt", Millis(20000));
  Journal journal(unit);
  UnitHistory h = fold(journal.records());
  if (a.epoch <= h.epoch)
    throw HostFailure("fenced", fmt::format("this host has seen epoch {} of '{}'; epoch {} may not adopt it", h.epoch, escape_terminal(h.holder), a.epoch),
                      "somebody else works here; look again, then adopt");
  journal.append(host, lock, "FENCE",
                 {{"epoch", a.epoch}, {"holder", a.holder}, {"ledger_id", a.ledger_id}, {"adopted_from", h.ledger_id}, {"who", a.who}, {"why", a.why}});
  return h.ledger_id;
}

}  // namespace ripcord
