// Where entries of a rollback go: the ledger when it answers, else a durable local spool that the next command which opens the
// ledger merges. One file a rollback, one JSON line an entry, fsynced before anything is sent to a host.
#pragma once
#include <string>

#include "plans/ledger/ledger_nearby.hpp"

namespace ripcord {

class EntrySink {
 public:
  // `patience`: how long the ledger may take for an entry. `ledger` outlives this.
  EntrySink(Loop& loop, Clock& clock, LedgerNearby& ledger, std::string spool_folder, std::string who, Millis patience = Millis(1000))
      : loop_(loop), clock_(clock), ledger_(ledger), folder_(std::move(spool_folder)), who_(std::move(who)), patience_(patience) {}
  void describe(std::string unit, std::string op) { unit_ = std::move(unit), op_ = std::move(op); }
  Task<> append(json::object body);  // durable when it resumes; Error only when neither place takes it
  bool in_ledger() const { return !spooled_; }  // every entry so far

 private:
  void spool(json::object body);
  Loop& loop_;
  Clock& clock_;
  LedgerNearby& ledger_;
  std::string folder_, who_, unit_, op_;
  Millis patience_;
  int entries_ = 0;       // each carries its number: what the ledger took after all is not merged again
  bool spooled_ = false;  // from then on everything goes there, so that the order is kept
};

// Appends what lies in the spool to the ledger, file by file, and removes each file once its entries are durable. What is in the
// ledger already is not merged twice, by however many at once; what is spooled meanwhile stays for the next. A file with a line that cannot be read is merged as far as it can be and kept as
// <name>.damaged. Returns the number of entries.
Task<std::size_t> merge_spool(Ledger& ledger, std::string spool_folder);

}  // namespace ripcord
