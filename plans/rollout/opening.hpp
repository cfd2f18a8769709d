// Whether a rollout may begin: one change at a time. An open rollout blocks its unit, and other units' activations on its hosts,
// until it is terminal, also while it is paused.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/net/ledger.hpp"
#include "plans/ledger/rollout_state.hpp"

namespace ripcord {

struct OpenRollout {
  std::string rollout, unit, version, who, machine, why, host;  // host: the one that both want; "": the unit itself
  WallTime since;
  std::string text() const;  // "unit 'web' has an open rollout" | "host 'web-01' is in an open rollout of unit 'web'"
};

// The first open rollout that is in the way of one of `unit` on `hosts`.
std::optional<OpenRollout> open_rollout_in_the_way(const std::vector<LedgerEntry>& entries, const std::string& unit, const std::vector<std::string>& hosts);

// What has happened to the unit since entry `seen`, when hosts were looked at for a rollout of it; "" when nothing has.
std::string changed_since_seen(const std::vector<LedgerEntry>& entries, std::int64_t seen, const std::string& unit);

// Error(Exit::held) when a rollout by this spec must not begin now. `seen`: the ledger's size when its hosts were looked at; -1: not known.
void require_free(const std::vector<LedgerEntry>& entries, const RolloutSpec& spec, std::int64_t seen);

// Appends `entry` onto the very entries that `look` has agreed to: it throws when they are in the way, and looks again when others came.
Task<> append_when(Ledger& ledger, json::object entry, LedgerStore::Guard guard, std::function<void(const std::vector<LedgerEntry>&)> look);

}  // namespace ripcord
