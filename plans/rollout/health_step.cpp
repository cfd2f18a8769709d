#include "plans/rollout/step_results.hpp"

namespace ripcord {

Task<StepResult> health_step(HostPort& port, UnitRef unit, std::string host) {
  StepResult r;
  try {
    HealthReport report = co_await port.health(std::move(unit));
    if (!report.healthy)
      r.entry = {{"kind", "host.unhealthy"}, {"host", host}, {"reason", "unhealthy while baking: " + report.detail},
                 {"failed_step", report.failed_step}, {"output", report.output}, {"log_tail", report.log_tail}};
  } catch (const LinkError& e) {
    if (e.fault() == LinkFault::ours) {
      r = our_fault(e.message());
    } else {
      r.entry = {{"kind", "host.unreachable"}, {"host", host}, {"reason", "while baking: " + e.message()}};
      note_link(r, e);
    }
  } catch (const HostRefusal& e) {
    r.entry = {{"kind", "host.unhealthy"}, {"host", host}, {"reason", e.message()}};
  }
  co_return r;
}

}  // namespace ripcord
