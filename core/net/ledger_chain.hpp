// What every ledger store does alike: number and chain lines, check the end of the chain, and say what is wrong. Pure.
#pragma once
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "core/base/error.hpp"
#include "core/net/ledger.hpp"

namespace ripcord {

inline constexpr std::int64_t kLedgerFormat = 1;
inline constexpr std::int64_t kCheckedOnOpen = 100;  // entries at the end whose chain is verified

struct LedgerHead {
  std::int64_t size = 0;
  Digest leaf;
};

// The line of entry 0.
std::string ledger_origin(const std::string& id, const std::string& created);

// Numbers and chains the lines of every batch behind `head`, and gives the head after them. A batch whose guard (`check` throws)
// or stamp fails has `refused` set and leaves nothing.
LedgerHead stamp_batches(std::vector<LedgerStore::Batch>& batches, LedgerHead head, const std::function<void(const LedgerStore::Guard&)>& check);

// `now`: the lease row as it is. Throws Error(Exit::held) when the guard does not hold.
void require_lease(const LedgerStore::Guard& guard, const std::optional<Lease>& now);

// Verifies the entries from `from` to the end against the head row. `place`: the ledger, as messages name it.
void check_ledger_end(const std::string& place, std::vector<LedgerEntry> entries, std::int64_t from, const LedgerHead& head);

// "ledger '...' is not what was written: why" (Exit::integrity).
Error ledger_damaged(const std::string& place, const std::string& why);

// The newest entry that this process has read or written, in whichever thread. Entries stay: where it is gone, an older copy was put
// back, or another server promoted, while somebody was writing.
class SeenHead {
 public:
  LedgerHead get() const;
  void note(const LedgerHead& head);

 private:
  mutable std::mutex mutex_;
  LedgerHead head_;
};
// Error(Exit::integrity) unless the entry that was the last one seen has its leaf still. `leaf`: of that entry now; nullopt: there is none.
void require_still(const std::string& place, const LedgerHead& seen, const std::optional<std::string>& leaf);

// An entry as stored; ledger_damaged when it is no line with a hash.
LedgerEntry ledger_entry(const std::string& place, std::int64_t seq, std::string line, std::string_view leaf);
Digest ledger_digest(const std::string& place, std::string_view bytes, const std::string& where);
std::string_view bytes_of(const Digest& digest);

}  // namespace ripcord
