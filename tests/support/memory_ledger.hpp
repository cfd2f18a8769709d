// A ledger store in memory, for virtual time: the same chain, guards and leases as the real ones, shared by any number of
// controllers of one test. Leases run on the test's clock.
#pragma once
#include <map>
#include <memory>

#include "core/net/ledger.hpp"

namespace ripcord::test {

struct MemoryLedger {
  explicit MemoryLedger(Clock& c) : clock(c) {}
  Clock& clock;
  std::vector<LedgerEntry> entries;
  std::size_t keep = SIZE_MAX;         // forget all but so many: for fleets so large that only the newest fit
  std::int64_t forgotten = 0;
  std::map<std::string, Lease> leases;
  std::map<std::string, std::int64_t> epochs;
  std::function<void(const LedgerEntry&)> on_append;  // may throw to simulate a dead ledger

  // A store for one controller; the memory outlives it.
  std::unique_ptr<LedgerStore> open();
};

}  // namespace ripcord::test
