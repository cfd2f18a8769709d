// r1 and r2: the host goes back by itself.
#pragma once
#include <string>

#include "manifests/host/lock.hpp"
#include "manifests/host/pending.hpp"

namespace ripcord {

// What one process knows about a way back under way, beyond the journal: when only the journal could not be written (a full disk in
// spite of its reserve), the next call writes it and does not restart everything again.
struct RevertProgress {
  bool done = false;
  std::string detail;
};

// Ends the open operation `op`: kills its hook, verifies the old tree, switches back, restarts, looks at health, journals. Returns
// the terminal state. HostFailure no_space when all is done but the journal cannot be written: call again.
OpState revert(HostContext& host, const UnitLayout& unit, const UnitLock& lock, const std::string& op, const std::string& why,
               RevertProgress* progress = nullptr);

// Removes what an ended operation left (pending, prepared links, old bytes), undrains. Text of what failed, or empty. Where a person
// is needed the host stays drained, and old bytes and links stay for them.
std::string clean_up(HostContext& host, const UnitLayout& unit, const UnitLock& lock, bool needs_person = false);

inline constexpr int kMaxAttempts = 3;

}  // namespace ripcord
