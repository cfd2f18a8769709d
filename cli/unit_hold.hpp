// A command that changes a unit's hosts without an engine holds the unit's lease meanwhile: two writers at once are refused, and this
// one says who it is. Given back when the object goes.
#pragma once
#include <memory>
#include <string>

#include "cli/context.hpp"
#include "plans/ledger/lease_keeper.hpp"

namespace ripcord::cli {

class UnitHold {
 public:
  // `what`: as others are told ("for rollout WHAT"). Takes over from a process of this machine that has ended. Error(Exit::held) naming
  // who holds it.
  UnitHold(Context& context, const std::string& unit, const std::string& what, const std::string& why, std::int64_t epoch_at_least = 0);
  ~UnitHold();
  UnitHold(const UnitHold&) = delete;
  UnitHold& operator=(const UnitHold&) = delete;
  const Lease& lease() const { return keeper_.lease(); }
  // Runs it to its end and renews the lease meanwhile.
  void run(Task<> work);
  void require_held() const;  // Error(Exit::held) when it was lost on the way

 private:
  Context& context_;
  LeaseKeeper keeper_;
};

}  // namespace ripcord::cli
