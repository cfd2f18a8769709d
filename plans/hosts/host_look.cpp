#include "plans/hosts/host_look.hpp"

namespace ripcord {
namespace {

Task<> look_at_one(HostPorts& ports, HostLook& out, UnitRef unit, Verify verify, bool check_process, Slots& slots, std::set<std::string>* unanswered) {
  auto slot = co_await slots.acquire();
  try {
    out.look = co_await ports.port(out.host->name).look(std::move(unit), verify, check_process);
  } catch (const LinkError& e) {
    out.fault_kind = e.fault();
    out.fault_name = e.name();
    out.fault = e.message();
    out.hint = e.hint();
  } catch (const HostRefusal& e) {
    out.fault_kind = LinkFault::host;
    out.fault_name = e.code();
    out.fault = e.message();
    out.hint = e.hint();
  } catch (const Error& e) {
    out.fault_kind = LinkFault::host;
    out.fault_name = "protocol";
    out.fault = e.what();
    out.hint = e.hint();
  }
  if (unanswered) unanswered->erase(out.host->name);
}

}  // namespace

Task<std::vector<HostLook>> look_at(Loop& loop, HostPorts& ports, std::vector<const Host*> hosts, UnitRef unit, Verify verify,
                                    bool check_process, std::size_t width, std::set<std::string>* unanswered) {
  std::vector<HostLook> looks(hosts.size());
  Slots slots(width);
  TaskGroup group(loop);
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    looks[i].host = hosts[i];
    if (unanswered) unanswered->insert(hosts[i]->name);
    group.spawn(look_at_one(ports, looks[i], unit, verify, check_process, slots, unanswered));
  }
  co_await group.join();
  co_return looks;
}

}  // namespace ripcord
