// Merges the spool into the ledger on a thread of its own, for what must not wait for a ledger that is gone, locked or slow.
#pragma once
#include <memory>
#include <string>

#include "core/base/clock.hpp"
#include "plans/files/fleet.hpp"

namespace ripcord::cli {

class LedgerAside {
 public:
  LedgerAside(const Fleet& fleet, std::string spool_folder, std::string who, std::string machine);
  ~LedgerAside();  // does not wait: what has not come through stays in the spool, and the next command merges it
  // "" when everything is in the ledger by then, else why not.
  std::string wait(Millis within);

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

}  // namespace ripcord::cli
