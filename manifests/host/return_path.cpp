#include "manifests/host/return_path.hpp"

#include <algorithm>
#include <map>

namespace ripcord {

bool names(const CurrentLink& current, const std::optional<ReleaseId>& release) {
  if (!release) return current.kind == Observation::Current::none;
  return current.release ? current.release == release : current.folder == release->folder();
}

ReturnPath return_path(const UnitHistory& history, const CurrentLink& current) {
  const Operation* op = history.newest_forward();
  if (!op || !op->state.to || !names(current, op->state.to)) return {};
  if (op->way_back() == op->state.to) return {};  // it was brought to where a rip cord had left the others
  return {true, op->way_back()};
}

std::optional<ReleaseId> release_of_version(const UnitHistory& history, const UnitLayout& unit, const std::string& version) {
  auto is = [&](const std::optional<ReleaseId>& r) { return r && r->version == version; };
  for (auto id = history.order.rbegin(); id != history.order.rend(); ++id) {
    const auto& s = history.operations.at(*id).state;
    if (s.phase != OpPhase::confirmed) continue;
    if (is(s.to)) return s.to;
    if (is(s.from)) return s.from;
  }
  for (auto r = history.staged.rbegin(); r != history.staged.rend(); ++r)
    if (r->version == version) return *r;
  for (const auto& r : releases_on_host(unit))
    if (r.version == version) return r;
  return std::nullopt;
}

std::optional<std::string> foreign_link_before(const UnitHistory& history, const std::optional<ReleaseId>& release) {
  for (auto id = history.order.rbegin(); release && id != history.order.rend(); ++id) {
    const auto& op = history.operations.at(*id);
    if (!op.state.forward || op.state.to != release) continue;
    auto target = get_string_or(op.intent, "from_target", "");
    return op.state.from || target.empty() ? std::nullopt : std::optional(target);
  }
  return std::nullopt;
}

bool stands_at(const CurrentLink& current, const std::optional<ReleaseId>& to, const UnitHistory& history, const std::optional<ReleaseId>& from) {
  if (to) return current.release == to;
  auto foreign = foreign_link_before(history, from);
  return foreign ? current.target == *foreign : current.kind == Observation::Current::none;
}

std::int64_t brought_up_in_ms(const std::vector<JournalRecord>& records, const UnitHistory& history, const ReleaseId& release) {
  std::map<std::string, std::int64_t> switched;
  std::int64_t took = 0;
  for (const auto& r : records) {
    if (r.kind != "ACTIVATED" && r.kind != "CONFIRMED") continue;
    auto id = get_string_or(r.body, "op", "");
    const Operation* op = history.find(id);
    if (!op || op->state.to != release) continue;
    if (r.kind == "ACTIVATED") switched[id] = r.at_ms;
    else if (auto begun = switched.find(id); begun != switched.end() && r.at_ms >= begun->second) took = r.at_ms - begun->second;
  }
  return took;
}

void look_back(const UnitLayout& unit, const std::vector<JournalRecord>& records, const UnitHistory& history, const CurrentLink& current,
               Verify how, const std::string& version, Observation& out) {
  ReturnPath path = return_path(history, current);
  if (!version.empty()) path.to = release_of_version(history, unit, version), path.exists = path.to.has_value();
  if (!path.exists) {
    out.back_state = version.empty() ? "none" : "missing";
    return;
  }
  out.back = path.to;
  out.back_state = "verified";
  if (!path.to) return;
  out.back_ms = brought_up_in_ms(records, history, *path.to);
  try {
    auto release = load_release(unit, path.to->folder());
    if (!release || release->id != *path.to) {
      out.back_state = "missing";
      return;
    }
    auto result = verify_release(unit, *release, how);
    load_manifest(unit, path.to->folder());  // its actions are needed as well
    if (result.clean()) return;
    out.back_findings = std::move(result.findings);
  } catch (const Error& e) {
    out.back_findings.push_back({"unreadable", ".", e.what()});
  }
  out.back_state = "damaged";
}

}  // namespace ripcord
