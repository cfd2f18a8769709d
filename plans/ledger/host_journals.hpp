// What the hosts' journals know and the ledger does not. An intent is in the ledger before its command leaves, so an operation of
// ours on a host that the ledger lacks means that the ledger lost it: a standby was promoted that had not got it yet, or an older
// copy was restored. The hosts are right. Their records are brought in, each once, by (host id, sequence, hash).
#pragma once
#include <map>
#include <string>
#include <vector>

#include "core/net/ledger.hpp"
#include "plans/hosts/host_look.hpp"
#include "plans/ledger/history.hpp"

namespace ripcord {

// An operation on a host that the ledger should know and does not.
struct LostOperation {
  std::string host, op, rollout;
  std::int64_t at_ms = 0, epoch = 0;
};
// Pure: the newest operations of hosts that belong to this ledger, against its entries.
std::vector<LostOperation> lost_operations(const std::vector<LedgerEntry>& entries, const std::vector<HostLook>& looks, const std::string& unit,
                                           const std::string& ledger_id);
// Rip cords that hosts felt since the rollout began and the ledger does not know: pulled on another machine, without the ledger.
std::vector<LostOperation> unknown_cords(const std::vector<LedgerEntry>& entries, const std::vector<HostLook>& looks, const RolloutState& state);
// "the ledger does not know operation ... "; empty without any.
std::string to_text(const std::vector<LostOperation>& lost);

// How much of a host's journal is in the ledger, by host id.
struct ImportedJournal {
  std::int64_t seq = 0;
  std::string hash;
};
std::map<std::string, ImportedJournal> imported_journals(const std::vector<LedgerEntry>& entries, const std::string& unit);

// One host's journal as it answered: raw lines, oldest first. Untrusted.
struct HostJournal {
  std::string host, host_id;
  std::vector<std::string> lines;
  std::string fault;                 // why it could not be read; then no lines
};
// Reads the journals, at most `width` at once, each from where the ledger's import ends (with the last imported record, which must
// still be the same). Never throws for a host.
Task<std::vector<HostJournal>> read_journals(Loop& loop, HostPorts& ports, std::vector<HostLook> looks, UnitRef unit,
                                             std::map<std::string, ImportedJournal> imported, std::size_t width);

struct Reconciliation {
  struct Line {
    std::string host, problem;       // problem: unreadable, or a journal that is not the one imported before
    std::size_t records = 0, operations = 0;
  };
  std::vector<Line> lines;
  std::vector<json::object> bodies;  // to be appended, in order
  std::vector<std::string> open;     // rollouts that got operations back and can be resumed
  std::vector<LostRollout> lost;     // rollouts that the ledger does not know at all
  std::int64_t epoch = 0;            // the highest that a journal names
};
// Pure. Bodies: host.journal (records), host.intent for each operation of an open rollout that the ledger lacked (resume asks the
// host what came of it), rollout.rolling_back when it was going back, rollout.paused, and rollout.lost for those it does not know.
Reconciliation reconcile(const std::vector<LedgerEntry>& entries, const std::string& unit, const std::vector<HostJournal>& journals);

}  // namespace ripcord
