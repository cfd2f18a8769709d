// Hosts that are no longer expected, by the ledger: retired ones, and those that another host has replaced. Leaving a host out of the
// fleet file says nothing about what it is owed; saying so here does.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "core/net/ledger.hpp"

namespace ripcord {

struct Departure {
  std::string replaced_by;  // "": nobody
  std::string who, why, at;
};

struct Roster {
  std::map<std::string, Departure> gone;  // by host
  bool expects(const std::string& host) const { return !gone.contains(host); }
  // Whom it stands in for, also over several replacements.
  std::vector<std::string> stands_in_for(const std::string& host) const;
};

Roster fold_roster(const std::vector<LedgerEntry>& entries, const std::string& fleet);

json::object retired_entry(const std::string& host, const std::string& fleet, const std::string& why);
json::object replaced_entry(const std::string& host, const std::string& by, const std::string& fleet, const std::string& why);
json::object readmitted_entry(const std::string& host, const std::string& fleet, const std::string& why);

}  // namespace ripcord
