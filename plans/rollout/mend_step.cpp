// Going back where the way back was damaged or removed meanwhile: nothing was switched, and the bytes that the host lacks may be here, or
// on another host (docs/activation.md).
#include "plans/rollout/host_steps.hpp"

namespace ripcord {

Task<StepResult> mend_and_go_back_step(StepContext c) {
  StepResult result = co_await go_back_step(c);
  auto code = get_string_or(result.entry, "code", "");
  if ((code != "damaged" && code != "missing_release") || !c.mend || !c.plan.from) co_return result;
  std::string host = c.plan.name;
  ReleaseId release = *c.plan.from;
  std::string not_mended = co_await c.mend(std::move(host), std::move(release));
  if (not_mended.empty()) co_return co_await go_back_step(c);
  result.entry["reason"] = get_string(result.entry, "reason") + "; it could not be mended: " + not_mended;
  co_return result;
}

}  // namespace ripcord
