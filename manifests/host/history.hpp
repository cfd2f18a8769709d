// What a unit's journal comes to: a pure fold.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/base/clock.hpp"
#include "manifests/host/journal.hpp"

namespace ripcord {

struct Operation {
  OpState state;                 // deadline_left_ms is filled by state_of()
  std::int64_t epoch = 0;
  std::string holder, ledger_id;
  std::int64_t within_ms = 0;
  bool armed = false;
  std::string strength;          // of the dead-man switch
  Elapsed deadline{};            // on CLOCK_BOOTTIME of `boot`
  std::string boot;              // boot id of ARMED (before that: of INTENT)
  int attempts = 0;              // REVERTING or ATTEMPT records so far
  json::object intent;           // the INTENT record, whole

  // Where the rip cord goes from it: `undo_to` where the request named one, else `from`.
  const std::optional<ReleaseId>& way_back() const { return state.undo_to ? state.undo_to : state.from; }
  bool terminal() const;         // CONFIRMED, REVERTED, FAILED_UNCHANGED, NEEDS_OPERATOR
};

struct UnitHistory {
  std::string host_id, root;
  std::int64_t epoch = 0;
  std::string holder, ledger_id;
  Labels labels;
  std::string arch;
  std::map<std::string, Operation> operations;
  std::vector<std::string> order;          // operation ids, oldest first
  std::vector<ReleaseId> staged;           // in order, once each
  std::optional<ReleaseId> believed;       // what `current` should name: `to` of the last ACTIVATED or later, `from` after REVERTED

  const Operation* find(const std::string& op) const;
  const Operation* newest() const;
  const Operation* newest_forward() const;  // without repairs, which go from a release to itself
  const Operation* open() const;           // the newest operation, when it is not terminal
  // Some operation to it was CONFIRMED, or it was the `from` of one, or named by its ledger as the way back of one.
  bool once_confirmed(const ReleaseId& release) const;
  // What `rollback` without a target returns to: the way back of the newest forward operation that is CONFIRMED (or ACTIVATED and
  // still open), when its `to` is what runs now; else none, so it never goes further back by itself.
  std::optional<ReleaseId> way_back(const std::optional<ReleaseId>& current) const;
};

UnitHistory fold(const std::vector<JournalRecord>& records);  // HostFailure journal_damaged on a record that makes no sense

// The operation as the protocol tells it, with the time left until the dead-man acts (0: overdue, also after a reboot).
OpState state_of(const Operation& op, const HostContext& host);

json::value to_json(const std::optional<ReleaseId>& release);  // null or {"version","manifest","tree"}
std::optional<ReleaseId> optional_release(const json::object& o, std::string_view key);

}  // namespace ripcord
