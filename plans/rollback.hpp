// `ripcord rollback UNIT [--to VERSION]`: absolute, compare-and-swap, parallel, health-checked, no bakes, no approvals, no window.
// Needs the fleet file and a link, nothing else: hosts know their own history.
//
// Without a target it undoes the newest forward rollout found in any reachable journal: hosts at its target return to the release
// recorded as their `from`, all others are only fenced. It never goes further back by itself and is never itself undone, so a
// second call changes nothing.
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "plans/engine.hpp"

namespace ripcord {

struct RollbackOptions {
  std::optional<std::string> to_version;
  std::optional<Selector> limit;
  bool dry_run = false, skip_missing = false;
  std::string who, why, holder;
  int max_parallel = 64;
  Millis within{0};                     // bound of one host; 0: computed from the unit's spec as the host holds it, at most 15 min
};

struct RollbackLine {                   // one host, for the table at the end
  std::string host;
  std::optional<ReleaseId> before, target, after;
  enum class Result { unchanged, returned, unreachable, conflict, failed, missing } result = Result::unchanged;
  std::string detail;
};

std::string_view to_text(RollbackLine::Result result);

struct RollbackResult {
  std::vector<RollbackLine> lines;
  std::string undone_rollout;           // id, when it undid one
  std::string op;                       // id of this rollback
  bool ledger_written = false;
  Exit exit = Exit::done;
};

// Pure: who goes where, from what was observed.
struct RollbackPlan {
  std::string undoes;                   // rollout id, empty with --to
  std::vector<RollbackLine> lines;      // before, target, result: unchanged | unreachable | missing | returned (to be done)
};
RollbackPlan plan_rollback(const std::vector<HostLook>& looks, const std::optional<std::string>& to_version);

// `ledger` may be null (unreachable): entries are spooled durably into `spool_folder` and merged by the next command that opens it.
Task<RollbackResult> run_rollback(Loop& loop, Clock& clock, Ledger* ledger, std::string spool_folder, HostPorts& ports,
                                  const Fleet& fleet, std::vector<const Host*> hosts, UnitRef unit, RollbackOptions options,
                                  std::function<void(const RollbackLine&)> on_host);

}  // namespace ripcord
