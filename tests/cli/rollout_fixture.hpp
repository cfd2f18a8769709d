// A rollout to look at: five hosts in three stages, told by a list of entries at known times.
#pragma once
#include <fmt/format.h>
#include <stdlib.h>
#include <time.h>

#include <string>
#include <vector>

#include "plans/ledger/rollout_state.hpp"

namespace ripcord::test {

inline const WallTime kNoon = parse_utc("2026-11-20T12:00:00.000Z");

// Times are printed in local time: in tests that is UTC.
struct UtcZone {
  UtcZone() {
    ::setenv("TZ", "UTC", 1);
    ::tzset();
  }
};

inline Digest digest_of(char c) { return sha256(std::string(1, c)); }

inline RolloutSpec small_spec() {
  RolloutSpec spec;
  spec.id = "r-20261120-120000-ab12";
  spec.fleet = "demo";
  spec.unit = "storefront";
  spec.version = "1.1";
  spec.manifest = digest_of('m');
  spec.root = "/srv";
  spec.max_failures = 1;
  spec.max_unreachable = 1;
  spec.confirm_within = Millis(320000);
  spec.who = "ana";
  spec.why = "new prices";
  auto stage = [&](const char* name, Millis bake, bool approval) {
    StageSpec s;
    s.name = name;
    s.bake = bake;
    s.approval = approval;
    s.max_parallel = 2;
    spec.stages.push_back(s);
  };
  stage("canary", Millis(1800000), false);
  stage("one-each", Millis(0), false);
  stage("all", Millis(0), true);
  auto host = [&](const char* name, const char* dc, int at) {
    HostPlan h;
    h.name = name;
    h.datacenter = dc;
    h.stage = at;
    h.from = ReleaseId{"1.0", digest_of('o'), digest_of('p')};
    h.to = ReleaseId{"1.1", digest_of('m'), digest_of('t')};
    spec.hosts.push_back(h);
  };
  host("web-01", "ams", 0);
  host("web-02", "ams", 1);
  host("fra-01", "fra", 1);
  host("web-03", "ams", 2);
  host("web-04", "ams", 2);
  return spec;
}

// Makes entries one second apart.
class Story {
 public:
  explicit Story(RolloutSpec spec) : spec_(std::move(spec)), state_(spec_) {
    say("rollout.started", {{"version", spec_.version}, {"spec", to_json(spec_)}});
  }
  const LedgerEntry& say(const std::string& kind, json::object more) {
    LedgerEntry e;
    e.seq = static_cast<std::int64_t>(entries_.size()) + 1;
    e.body = {{"seq", e.seq}, {"time", format_utc(kNoon + Millis(1000) * e.seq)}, {"who", "ana"}, {"machine", "ops-1"}, {"kind", kind},
              {"rollout", spec_.id}, {"unit", spec_.unit}};
    for (auto& m : more) e.body[m.key()] = m.value();
    e.line = json::serialize(e.body);
    e.leaf = leaf_hash(e.line);
    entries_.push_back(std::move(e));
    state_.apply(entries_.back());
    return entries_.back();
  }
  void confirm(const std::string& host) {
    say("host.staged", {{"host", host}, {"files", 12}, {"bytes", 5242880}});
    say("host.intent", {{"host", host}, {"op", "op-" + host}, {"forward", true}, {"from", "1.0-0123456789ab"}, {"to", "1.1-ba9876543210"}});
    say("host.confirmed", {{"host", host}, {"op", "op-" + host}, {"step_ms", {{"switch", 200}, {"restart", 1000}}}});
  }
  const RolloutState& state() const { return state_; }
  const std::vector<LedgerEntry>& entries() const { return entries_; }
  WallTime now() const { return kNoon + Millis(1000) * static_cast<std::int64_t>(entries_.size()); }

 private:
  RolloutSpec spec_;
  RolloutState state_;
  std::vector<LedgerEntry> entries_;
};

inline std::string joined(const std::vector<std::string>& lines) {
  std::string out;
  for (const auto& l : lines) out += l + "\n";
  return out;
}

}  // namespace ripcord::test
