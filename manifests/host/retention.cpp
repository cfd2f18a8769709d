#include "manifests/host/retention.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "core/base/text.hpp"

namespace ripcord {
namespace {

// When a release was last staged, gone to or come from; and when it was marked, if nothing happened to it since.
struct Times {
  std::int64_t used = 0, marked = -1;
};

std::map<std::string, Times> times_of(const std::vector<JournalRecord>& records, const UnitHistory& history) {
  std::map<std::string, Times> out;
  auto use = [&](const std::optional<ReleaseId>& r, std::int64_t at) {
    if (!r) return;
    auto& t = out[r->folder()];
    t.used = std::max(t.used, at);
    t.marked = -1;
  };
  for (const auto& r : records) {
    if (r.kind == "STAGED") use(optional_release(r.body, "release"), r.at_ms);
    if (r.kind == "FENCE") use(optional_release(r.body, "intended"), r.at_ms);
    if (r.kind == "MARKED")
      if (auto release = optional_release(r.body, "release")) out[release->folder()].marked = r.at_ms;
    if (const Operation* op = history.find(get_string_or(r.body, "op", ""))) use(op->state.from, r.at_ms), use(op->state.to, r.at_ms);
  }
  return out;
}

// Folders that some way back needs, with the reason.
std::map<std::string, std::string> needed(const UnitHistory& history) {
  std::map<std::string, std::string> out;
  auto need = [&](const std::optional<ReleaseId>& r, const char* why) {
    if (r) out.try_emplace(r->folder(), why);
  };
  // The newest forward operation is what the cord undoes, also when it was undone already: a person may want to see both sides.
  if (const auto* forward = history.newest_forward()) need(forward->way_back(), "a rollback goes there"), need(forward->state.from, "the newest rollout replaced it"), need(forward->state.to, "the newest rollout brought it");
  for (const auto& [id, op] : history.operations) {
    bool open = !op.terminal() || op.state.phase == OpPhase::needs_operator;
    if (open && (&op == history.newest() || !op.terminal())) need(op.state.from, "an operation that is not over needs it"), need(op.state.to, "an operation that is not over needs it");
  }
  return out;
}

}  // namespace

std::vector<Fate> judge_retention(const std::vector<JournalRecord>& records, const UnitHistory& history, const RetentionFacts& facts,
                                  const PruneRequest& rules, WallTime now) {
  auto times = times_of(records, history);
  auto ways = needed(history);
  std::vector<std::string> retired;
  for (const auto& r : facts.releases)
    if (r.folder() != facts.current) retired.push_back(r.folder());
  std::stable_sort(retired.begin(), retired.end(), [&](const auto& a, const auto& b) { return times[a].used > times[b].used; });
  retired.resize(std::min(retired.size(), static_cast<std::size_t>(std::max(0, rules.keep))));

  std::vector<Fate> out;
  for (const auto& id : facts.releases) {
    auto folder = id.folder();
    const auto& t = times[folder];
    auto why_not = [&]() -> std::string {
      if (folder == facts.current) return "it is current";
      if (folder == facts.armed_back) return "the dead-man switch goes back to it";
      if (facts.in_use.contains(folder)) return "a process runs from it";
      if (auto way = ways.find(folder); way != ways.end()) return way->second;
      if (std::find(rules.pinned.begin(), rules.pinned.end(), id.manifest) != rules.pinned.end()) return "an open rollout needs it";
      if (std::find(retired.begin(), retired.end(), folder) != retired.end()) return fmt::format("it is one of the last {}", rules.keep);
      if (now.ms - t.used < rules.age_ms) return fmt::format("used {} ago", format_duration(Millis(std::max<std::int64_t>(0, now.ms - t.used))));
      return "";
    }();
    if (!why_not.empty()) out.push_back({id, Fate::What::keep, why_not});
    else if (t.marked < 0) out.push_back({id, Fate::What::mark, "nothing needs it any more"});
    else if (now.ms - t.marked < rules.marked_ms) out.push_back({id, Fate::What::keep, fmt::format("marked {} ago", format_duration(Millis(std::max<std::int64_t>(0, now.ms - t.marked))))});
    else out.push_back({id, Fate::What::remove, fmt::format("marked {} ago", format_duration(Millis(now.ms - t.marked)))});
  }
  return out;
}

}  // namespace ripcord
