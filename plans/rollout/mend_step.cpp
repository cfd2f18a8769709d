// Going back where the way back was damaged or removed meanwhile: nothing was switched, and the bytes that the host lacks may be here, or
// on another host (docs/activation.md).
#include <fmt/format.h>

#include "plans/hosts/kept_tree.hpp"
#include "plans/rollout/host_steps.hpp"

namespace ripcord {
namespace {

// Where its journal ends. nullopt: it does not say.
Task<std::optional<std::int64_t>> journal_end(const StepContext& c) {
  std::optional<std::int64_t> seq;
  try {
    Look look = co_await c.port.look(c.spec.unit_ref(), Verify::none, false);
    seq = look.unit.journal_seq;
  } catch (const Error&) {
  }
  co_return seq;
}

void note_kept(StepResult& r, std::string what) {
  json::array kept;
  if (const auto* before = find_array(r.entry, "kept")) kept = *before;
  kept.push_back(json::value(what));
  r.entry["kept"] = std::move(kept);
}

}  // namespace

Task<StepResult> mend_and_go_back_step(StepContext c) {
  StepResult result = co_await go_back_step(c);
  auto code = get_string_or(result.entry, "code", "");
  if ((code != "damaged" && code != "missing_release") || !c.mend || !c.plan.from) co_return result;
  std::string host = c.plan.name;
  ReleaseId release = *c.plan.from;
  const auto seen = co_await journal_end(c);
  std::string not_mended = co_await c.mend(std::move(host), std::move(release));
  if (not_mended.empty()) {
    result = co_await go_back_step(c);
    if (seen && !result.entry.empty()) {
      UnitRef unit = c.spec.unit_ref();
      std::string kept;
      try {
        kept = co_await kept_tree(c.port, std::move(unit), *seen);
      } catch (const Error&) {  // it is in the host's journal all the same
      }
      if (!kept.empty()) note_kept(result, fmt::format("release {}, kept in {}", c.plan.from->folder(), kept));
    }
    co_return result;
  }
  result.entry["reason"] = get_string(result.entry, "reason") + "; it could not be mended: " + not_mended;
  co_return result;
}

}  // namespace ripcord
