// Retention (INVARIANTS 13): what `prune` asks of a host, and what the host answers. Retired releases are marked, and removed by a
// later prune; the rules can be made stricter than these defaults, never weaker.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "manifests/shared/messages.hpp"

namespace ripcord {

struct PruneRequest {
  UnitRef unit;
  std::int64_t now_ms = 0;                      // the controller's wall clock: the earlier of both counts
  int keep = 5;                                 // newest retired releases that stay, at least 5
  std::int64_t age_ms = 14 * 86400000LL;        // retired for less than this stays, at least two weeks
  std::int64_t marked_ms = 86400000LL;          // marked for less than this stays, at least an hour
  std::vector<Digest> pinned;                   // manifests that an open rollout needs
  bool dry_run = false;
};

struct PruneItem {
  std::string kind;    // "release" | "evidence" (.damaged-*) | "program" (a host program)
  std::string name;    // folder, or digest
  std::string fate;    // "kept" | "marked" | "removed"
  std::string why;
  std::uint64_t bytes = 0;
};

struct PruneReply {
  std::vector<PruneItem> items;
  std::uint64_t free_bytes = 0;  // afterwards
};

json::object to_json(const PruneRequest&);
PruneRequest prune_request_from_json(const json::object&);
json::object to_json(const PruneReply&);
PruneReply prune_reply_from_json(const json::object&);

}  // namespace ripcord
