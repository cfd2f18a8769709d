// Where entries of a rollback go: the ledger when it can be reached, else a durable local spool that the next command which opens
// the ledger merges. One file a rollback, one JSON line an entry, fsynced before anything is sent to a host.
#pragma once
#include <string>

#include "core/net/ledger.hpp"

namespace ripcord {

class EntrySink {
 public:
  EntrySink(Clock& clock, Ledger* ledger, std::string spool_folder, std::string who)
      : clock_(clock), ledger_(ledger), folder_(std::move(spool_folder)), who_(std::move(who)) {}
  void describe(std::string unit, std::string op) { unit_ = std::move(unit), op_ = std::move(op); }
  Task<> append(json::object body);  // durable when it resumes; Error only when neither place takes it
  bool in_ledger() const { return ledger_ != nullptr; }

 private:
  Clock& clock_;
  Ledger* ledger_;  // null from the first failure on
  std::string folder_, who_, unit_, op_;
};

// Appends what lies in the spool to the ledger, file by file, and removes each file once its entries are durable; a file half
// merged before is not merged twice (entries carry the spool's id). Returns the number of entries.
Task<std::size_t> merge_spool(Ledger& ledger, std::string spool_folder);

}  // namespace ripcord
