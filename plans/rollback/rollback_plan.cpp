#include "plans/rollback/rollback_plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace ripcord {
namespace {

using Result = RollbackLine::Result;

bool ended(OpPhase p) { return p == OpPhase::confirmed || p == OpPhase::reverted || p == OpPhase::failed_unchanged || p == OpPhase::none; }

// What `current` is meant to be, also when that release's folder was removed from under it, or what is known about it.
std::optional<ReleaseId> runs(const Observation& o) {
  if (o.running || !o.last_forward || !o.last_forward->to) return o.running;
  return o.link_target == "releases/" + o.last_forward->to->folder() ? o.last_forward->to : std::nullopt;
}

// A way back got this far and no further: the link is where it should be, what runs is not well.
bool left_unwell(const Observation& o, const std::optional<ReleaseId>& running) {
  if (!o.last_op || ended(o.last_op->phase)) return false;
  const auto& op = *o.last_op;
  if (!op.forward) return op.to == running;
  return op.phase == OpPhase::needs_operator && op.from == running;
}

// Where the cord takes a host from its newest forward operation.
const std::optional<ReleaseId>& way_back_from(const OpState& op) { return op.undo_to ? op.undo_to : op.from; }

void to_be_returned(RollbackLine& line, const Observation& o, std::optional<ReleaseId> target) {
  line.target = std::move(target);
  line.result = Result::returned;
  if (!line.target) return;
  bool told = !o.back_state.empty() && o.back == line.target;
  bool there = std::find(o.releases.begin(), o.releases.end(), *line.target) != o.releases.end();
  if (told && (o.back_state == "missing" || o.back_state == "damaged")) line.lacks = o.back_state;
  if (!told && !o.releases.empty() && !there) line.lacks = "missing";
}

}  // namespace

std::string_view to_text(Result result) {
  switch (result) {
    case Result::unchanged: return "unchanged";
    case Result::returned: return "returned";
    case Result::unreachable: return "unreachable";
    case Result::conflict: return "conflict";
    case Result::failed: return "failed";
    case Result::missing: return "missing";
  }
  return "failed";
}

std::string newest_forward_rollout(const std::vector<HostLook>& looks) {
  std::string rollout;
  std::pair<std::int64_t, std::int64_t> best{-1, -1};
  for (const auto& l : looks) {
    if (!l.look || !l.look->unit.last_forward || l.look->unit.last_forward->epoch > kMaxEpoch) continue;
    const auto& op = *l.look->unit.last_forward;
    std::pair<std::int64_t, std::int64_t> age{op.epoch, op.at_ms};
    if (age > best) best = age, rollout = op.rollout;
  }
  return rollout;
}

RollbackLine plan_line(const HostLook& l, const std::string& undoes, const std::optional<std::string>& to_version) {
  RollbackLine line;
  line.host = l.host->name;
  if (!l.look) {
    line.result = Result::unreachable;
    line.detail = l.fault;
    line.trust = l.fault_kind == LinkFault::trust;
    return line;
  }
  const auto& o = l.look->unit;
  line.before = line.after = line.target = runs(o);
  if (o.epoch > kMaxEpoch) {
    line.result = Result::failed;
    line.detail = fmt::format("its journal claims the epoch {}, which nobody gave it: look at the host before you believe it", o.epoch);
    return line;
  }
  if (to_version) {
    if (!line.before || line.before->version != *to_version) {
      auto here = std::find_if(o.releases.rbegin(), o.releases.rend(), [&](const ReleaseId& r) { return r.version == *to_version; });
      auto target = o.back && o.back->version == *to_version ? o.back : here != o.releases.rend() ? std::optional(*here) : std::nullopt;
      to_be_returned(line, o, target);
      if (!target) line.lacks = "missing";
      if (line.lacks == "missing") line.detail = fmt::format("it does not hold version {}", *to_version);
    }
  } else if (o.last_forward && !undoes.empty() && o.last_forward->rollout == undoes && line.before && o.last_forward->to == line.before &&
             way_back_from(*o.last_forward) != line.before) {
    to_be_returned(line, o, way_back_from(*o.last_forward));
  }
  if (line.result == Result::unchanged && left_unwell(o, line.before)) {
    line.result = Result::returned;
    line.detail = "an earlier way back left it unwell";
  }
  if (line.result == Result::unchanged && o.drained) {
    line.result = Result::returned;
    line.detail = "it was left out of service";
  }
  return line;
}

RollbackPlan plan_rollback(const std::vector<HostLook>& looks, const std::optional<std::string>& to_version) {
  RollbackPlan plan;
  if (!to_version) plan.undoes = newest_forward_rollout(looks);
  for (const auto& l : looks) plan.lines.push_back(plan_line(l, plan.undoes, to_version));
  return plan;
}

std::optional<Digest> manifest_of_version(const std::vector<HostLook>& looks, const std::string& version) {
  std::map<Digest, std::string> claims;
  auto claim = [&](const std::string& host, const std::optional<ReleaseId>& r) {
    if (r && r->version == version) claims.try_emplace(r->manifest, host);
  };
  for (const auto& l : looks) {
    if (!l.look) continue;
    for (const auto& r : l.look->unit.releases) claim(l.host->name, r);
    claim(l.host->name, l.look->unit.back);
  }
  if (claims.size() > 1)
    throw Error(fmt::format("hosts hold different releases under the version {}: {} on '{}', {} on '{}'", version, claims.begin()->first.short_hex(),
                            claims.begin()->second, claims.rbegin()->first.short_hex(), claims.rbegin()->second),
                "nothing was touched; one version is one release for ever, so find out which host is not what it says", Exit::integrity);
  return claims.empty() ? std::nullopt : std::optional(claims.begin()->first);
}

Exit rollback_exit(const std::vector<RollbackLine>& lines) {
  Exit exit = Exit::done;
  for (const auto& line : lines) {
    if (!line.selected && line.result != Result::failed) continue;
    if (!line.drained.empty()) exit = worst(exit, Exit::mixed);
    if (line.trust) exit = worst(exit, Exit::integrity);
    if (line.result == Result::unreachable) exit = worst(exit, Exit::unreachable);
    if (line.result == Result::conflict || line.result == Result::failed || line.result == Result::missing) exit = worst(exit, Exit::mixed);
  }
  return exit;
}

}  // namespace ripcord
