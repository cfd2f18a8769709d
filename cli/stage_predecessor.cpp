#include "cli/stage_predecessor.hpp"

#include <fmt/format.h>

#include "cli/view/words.hpp"
#include "plans/hosts/host_objects.hpp"
#include "plans/hosts/predecessor.hpp"
#include "plans/hosts/supply.hpp"

namespace ripcord::cli {

std::map<std::string, ReleaseId> stage_predecessor(Context& c, const UnitRef& ref, const Stable& before, const std::vector<HostLook>& coming,
                                                   const std::vector<HostLook>& looks) {
  Supplier supplier(c.ports(), c.more_ports(), c.store_for_writing(), ref);
  for (const auto& l : looks)
    if (l.look)
      for (const auto& r : l.look->unit.releases) supplier.note_holder(l.host->name, r.manifest);
  auto staged = c.wait(bring_predecessor(c.loop(), supplier, before.manifest, coming));
  std::map<std::string, ReleaseId> back;
  std::size_t sent = 0;
  for (const auto& s : staged) {
    if (s.release) back[s.host] = *s.release;
    sent += s.release && s.sent;
    if (!s.failed.empty())
      c.out().warn(fmt::format("{}: {}@{}, which the others can go back to, could not be brought there: {}; a rollback takes it to what it runs now", s.host, ref.unit, before.version, s.failed));
  }
  if (sent > 0) c.out().note(fmt::format("{}@{}, which the others can go back to, is staged on {}", ref.unit, before.version, count_of(sent, "host")));
  return back;
}

}  // namespace ripcord::cli
