#include "plans/ledger/rollout_spec.hpp"

#include <fmt/format.h>

#include <map>

#include "core/base/error.hpp"

namespace ripcord {
namespace {

json::object stage_to_json(const StageSpec& s) {
  return {{"name", s.name},
          {"max_parallel", s.max_parallel},
          {"slow_start", s.slow_start},
          {"max_unavailable", s.max_unavailable},
          {"bake_ms", s.bake.count()},
          {"approval", s.approval}};
}

StageSpec stage_from_json(const json::object& o) {
  StageSpec s;
  s.name = get_string(o, "name");
  s.max_parallel = static_cast<int>(get_int(o, "max_parallel"));
  s.slow_start = get_bool(o, "slow_start");
  s.max_unavailable = static_cast<int>(get_int(o, "max_unavailable"));
  s.bake = Millis(get_int(o, "bake_ms"));
  s.approval = get_bool(o, "approval");
  return s;
}

// Hosts name their releases by number: ten thousand hosts between the same two releases would be most of an entry otherwise.
struct ReleaseTable {
  json::array releases;
  std::map<std::string, std::int64_t> numbers;
  std::int64_t number_of(const ReleaseId& id) {
    auto [at, fresh] = numbers.try_emplace(id.version + " " + id.manifest.hex() + id.tree.hex(), static_cast<std::int64_t>(releases.size()));
    if (fresh) releases.push_back(to_json(id));
    return at->second;
  }
};

ReleaseId release_at(const std::vector<ReleaseId>& table, std::int64_t number) {
  if (number < 0 || number >= static_cast<std::int64_t>(table.size())) throw Error(fmt::format("release {} of the rollout is not in its list of {}", number, table.size()));
  return table[static_cast<std::size_t>(number)];
}

json::object host_to_json(const HostPlan& h, ReleaseTable& table) {
  json::object o{{"name", h.name}, {"datacenter", h.datacenter}, {"domain", h.domain}, {"stage", h.stage}, {"to", table.number_of(h.to)}};
  if (h.from) o["from"] = table.number_of(*h.from);
  if (h.unchanged) o["unchanged"] = true;
  if (h.away) o["away"] = true;
  if (!h.journalled_as.empty()) o["journalled_as"] = h.journalled_as;
  if (h.undo_to) o["undo_to"] = table.number_of(*h.undo_to);
  if (!h.host_id.empty()) o["host_id"] = h.host_id;
  return o;
}

HostPlan host_from_json(const json::object& o, const std::vector<ReleaseId>& releases) {
  HostPlan h;
  h.name = get_string(o, "name");
  h.datacenter = get_string(o, "datacenter");
  h.domain = get_string(o, "domain");
  h.stage = static_cast<int>(get_int(o, "stage"));
  h.to = release_at(releases, get_int(o, "to"));
  if (o.contains("from")) h.from = release_at(releases, get_int(o, "from"));
  h.unchanged = get_bool_or(o, "unchanged", false);
  h.away = get_bool_or(o, "away", false);
  h.journalled_as = get_string_or(o, "journalled_as", "");
  if (o.contains("undo_to")) h.undo_to = release_at(releases, get_int(o, "undo_to"));
  h.host_id = get_string_or(o, "host_id", "");
  return h;
}

json::array to_json(const std::vector<LeftOut>& left_out) {
  json::array out;
  for (const auto& l : left_out) {
    json::object one{{"host", l.host}, {"why", l.why}};
    if (l.until_ms != 0) one["until"] = format_utc({l.until_ms});
    out.push_back(std::move(one));
  }
  return out;
}

LeftOut left_out_from_json(const json::value& v) {
  if (!v.is_object()) throw Error("a host that was left out of the rollout is not an object");
  const auto& o = v.get_object();
  auto until = get_string_or(o, "until", "");
  return {get_string(o, "host"), get_string_or(o, "why", ""), until.empty() ? 0 : parse_utc(until).ms};
}

}  // namespace

json::object to_json(const RolloutSpec& s) {
  json::array stages, hosts;
  ReleaseTable table;
  for (const auto& stage : s.stages) stages.push_back(stage_to_json(stage));
  for (const auto& host : s.hosts) hosts.push_back(host_to_json(host, table));
  json::object o{{"id", s.id},
                 {"fleet", s.fleet},
                 {"unit", s.unit},
                 {"version", s.version},
                 {"root", s.root},
                 {"manifest", s.manifest.hex()},
                 {"stages", std::move(stages)},
                 {"releases", std::move(table.releases)},
                 {"hosts", std::move(hosts)},
                 {"max_failures", s.max_failures},
                 {"max_unreachable", s.max_unreachable},
                 {"progress_deadline_ms", s.progress_deadline.count()},
                 {"on_failure", s.rollback_on_failure ? "rollback" : "pause"},
                 {"demand_strong_deadman", s.demand_strong_deadman},
                 {"hotfix", s.hotfix},
                 {"spread_ms", s.spread.count()},
                 {"confirm_within_ms", s.confirm_within.count()},
                 {"outside_window", s.outside_window},
                 {"who", s.who},
                 {"why", s.why}};
  if (s.window) o["window"] = to_json(*s.window);
  if (!s.proofs.empty()) {
    json::array proofs;
    for (const auto& p : s.proofs) proofs.push_back(to_json(p));
    o["proofs"] = std::move(proofs);
  }
  if (!s.unproven.empty()) o["unproven"] = to_json_array(s.unproven);
  if (!s.no_return.empty()) o["no_return"] = to_json_array(s.no_return);
  if (!s.drill.empty()) o["drill"] = s.drill, o["lapse_within_ms"] = s.lapse_within.count();
  if (!s.once.empty()) {
    json::array once;
    for (const auto& one : s.once) once.push_back(to_json(one));
    o["once"] = std::move(once);
  }
  o["proof_valid_ms"] = s.proof_valid.count();
  if (!s.purpose.empty()) o["purpose"] = s.purpose;
  if (!s.carried_by.empty()) o["carried_by"] = s.carried_by;
  if (!s.left_out.empty()) o["left_out"] = to_json(s.left_out);
  return o;
}

RolloutSpec rollout_spec_from_json(const json::object& o) {
  RolloutSpec s;
  s.id = get_string(o, "id");
  s.fleet = get_string(o, "fleet");
  s.unit = get_string(o, "unit");
  s.version = get_string(o, "version");
  s.root = get_string(o, "root");
  s.manifest = Digest::require(get_string(o, "manifest"));
  for (const auto& stage : get_array(o, "stages")) {
    if (!stage.is_object()) throw Error("a stage of the rollout is not an object");
    s.stages.push_back(stage_from_json(stage.get_object()));
  }
  std::vector<ReleaseId> releases;
  for (const auto& release : get_array(o, "releases")) {
    if (!release.is_object()) throw Error("a release of the rollout is not an object");
    releases.push_back(release_id_from_json(release.get_object()));
  }
  for (const auto& host : get_array(o, "hosts")) {
    if (!host.is_object()) throw Error("a host of the rollout is not an object");
    s.hosts.push_back(host_from_json(host.get_object(), releases));
    int stage = s.hosts.back().stage;
    if (stage < 0 || stage >= static_cast<int>(s.stages.size()))
      throw Error(fmt::format("host '{}' names stage {}, and there are {}", s.hosts.back().name, stage, s.stages.size()));
  }
  s.max_failures = static_cast<int>(get_int(o, "max_failures"));
  s.max_unreachable = static_cast<int>(get_int(o, "max_unreachable"));
  s.progress_deadline = Millis(get_int(o, "progress_deadline_ms"));
  s.rollback_on_failure = get_string(o, "on_failure") == "rollback";
  s.demand_strong_deadman = get_bool(o, "demand_strong_deadman");
  s.hotfix = get_bool(o, "hotfix");
  s.spread = Millis(get_int(o, "spread_ms"));
  s.confirm_within = Millis(get_int(o, "confirm_within_ms"));
  s.outside_window = get_bool(o, "outside_window");
  s.who = get_string(o, "who");
  s.why = get_string(o, "why");
  if (const auto* window = find_object(o, "window")) s.window = window_from_json(*window);
  if (const auto* proofs = find_array(o, "proofs"))
    for (const auto& proof : *proofs) {
      if (!proof.is_object()) throw Error("a proof of the rollout is not an object");
      s.proofs.push_back(proof_from_json(proof.get_object()));
    }
  s.unproven = get_strings_or_empty(o, "unproven");
  s.no_return = get_strings_or_empty(o, "no_return");
  s.drill = get_string_or(o, "drill", "");
  s.lapse_within = Millis(get_int_or(o, "lapse_within_ms", 0));
  if (const auto* once = find_array(o, "once"))
    for (const auto& one : *once) {
      if (!one.is_object()) throw Error("a `once` of the rollout is not an object");
      s.once.push_back(once_from_json(one.get_object()));
    }
  s.proof_valid = Millis(get_int_or(o, "proof_valid_ms", kProofValid.count()));
  s.purpose = get_string_or(o, "purpose", "");
  s.carried_by = get_string_or(o, "carried_by", "");
  if (const auto* left_out = find_array(o, "left_out"))
    for (const auto& one : *left_out) s.left_out.push_back(left_out_from_json(one));
  return s;
}

json::object started_entry(const RolloutSpec& spec) {
  json::object o{{"kind", spec.drill.empty() ? "rollout.started" : "drill.started"}, {"version", spec.version}, {"why", spec.why}, {"spec", to_json(spec)}};
  if (!spec.drill.empty()) o["drill"] = spec.drill;
  if (!spec.purpose.empty()) o["purpose"] = spec.purpose;
  if (spec.hotfix) o["hotfix"] = true;
  if (spec.outside_window) o["outside_window"] = true;
  if (!spec.no_return.empty()) o["no_return"] = to_json_array(spec.no_return);
  if (!spec.unproven.empty()) o["unproven"] = to_json_array(spec.unproven);
  return o;
}

std::string new_rollout_id(WallTime now) {
  auto t = format_utc(now);  // 2026-11-20T12:00:00.123Z
  return fmt::format("r-{}{}{}-{}{}{}-{}", t.substr(0, 4), t.substr(5, 2), t.substr(8, 2), t.substr(11, 2), t.substr(14, 2),
                     t.substr(17, 2), random_hex(3));
}

std::string new_op_id() { return "op-" + random_hex(10); }

}  // namespace ripcord
