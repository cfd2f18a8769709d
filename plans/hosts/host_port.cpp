#include "plans/hosts/host_port.hpp"

namespace ripcord {

bool is_final(const LinkError& e) { return e.fault() == LinkFault::ours || e.fault() == LinkFault::trust || e.name() == "auth_failed"; }

Task<Look> HostPort::look_back(UnitRef unit, Verify, std::string) { co_return co_await look(std::move(unit), Verify::none, false); }

Task<Look> HostPort::fence_and_look(FenceRequest request) {
  UnitRef unit = request.unit;
  co_await fence(request.unit, request.epoch, request.holder, request.ledger_id);
  co_return co_await look(std::move(unit), Verify::none, false);
}

Task<StageReply> HostPort::mend(UnitRef, ReleaseId) { throw HostRefusal({"missing_release", "this host cannot mend", ""}); }

}  // namespace ripcord
