// What the ledger knows, for people and for the next rollout: rollouts with their outcome, the stable release of a unit.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "plans/ledger/rollout_state.hpp"

namespace ripcord {

struct HistoryLine {
  std::string time, who, machine, kind, rollout, unit, what, why;  // what: one sentence
  std::int64_t seq = 0;
};

std::vector<HistoryLine> history(const std::vector<LedgerEntry>& entries, const std::string& unit, bool every_entry);
// The whole ledger, in pieces that fit its reads.
std::vector<LedgerEntry> read_all(Ledger& ledger);
// Ids of rollouts of a unit ("" = any), oldest first.
std::vector<std::string> rollouts(const std::vector<LedgerEntry>& entries, const std::string& unit);
// The newest rollout of the unit ("" = any); the open one if there is one.
std::optional<RolloutState> newest_rollout(const std::vector<LedgerEntry>& entries, const std::string& unit);
// The same, but for convergences and repairs that completed: they brought hosts to what was decided before.
std::optional<RolloutState> newest_decision(const std::vector<LedgerEntry>& entries, const std::string& unit);
// A rollout whose beginning the ledger lost, and that a reconciliation found in the journals of hosts.
struct LostRollout {
  std::string rollout, version;  // version: "" when no host went forward to it
  std::vector<std::string> hosts;
};
// Those of the unit on which nobody has decided since: no rollout was begun, and no rip cord pulled.
std::vector<LostRollout> lost_rollouts(const std::vector<LedgerEntry>& entries, const std::string& unit);
// The name of the fleet that this is the ledger of, when that is not `fleet`: it has rollouts, and none of them was of `fleet`. "": it may be.
std::string fleet_of_another(const std::vector<LedgerEntry>& entries, const std::string& fleet);
std::optional<RolloutState> open_rollout(const std::vector<LedgerEntry>& entries, const std::string& unit);

}  // namespace ripcord
