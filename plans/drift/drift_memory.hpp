// What earlier scans found: since when, how often, what is gone again. A small file beside the fleet; the ledger gets only what
// begins or ceases to alert. Pure but for load and save.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "plans/drift/drift.hpp"
#include "plans/files/persistence.hpp"

namespace ripcord {

class DriftMemory {
 public:
  static DriftMemory load(const std::string& file);  // a missing file is an empty memory; Error when it cannot be read
  void save(const std::string& file) const;          // durable

  // Takes a scan in: fills in first_seen, alerts, fresh, unseen_at of the items, adds a `journal` finding where a host's journal went
  // back, and returns what ceased: items that alerted and are gone, or do not persist any more.
  // Hosts that did not answer, and hosts and units that were not asked, stay as they were.
  std::vector<DriftItem> take(const std::vector<HostScan>& scans, const std::vector<std::string>& units, std::vector<DriftItem>& items,
                              Persistence persistence, WallTime now);

  std::vector<DriftItem> items() const;  // all that are remembered

  WallTime last_scan, last_full;  // newest complete ones of the whole fleet; 0: never

 private:
  struct Seen {
    json::object item;          // as it was last seen
    WallTime first, last, unseen;
    std::string marks;          // one a scan, newest last: '1' it was there
    bool alerted = false;
  };
  struct Journal {
    std::int64_t seq = 0;
    std::string hash;
  };
  std::map<std::string, Seen> seen_;                                  // by key
  std::map<std::pair<std::string, std::string>, Journal> journals_;   // (host, unit)
  std::map<std::string, WallTime> reached_;                           // host -> newest scan that it answered
  void check_journals(const std::vector<HostScan>& scans, std::vector<DriftItem>& items);
};

json::object to_json(const DriftItem& item);
DriftItem drift_item_from_json(const json::object& o);

}  // namespace ripcord
