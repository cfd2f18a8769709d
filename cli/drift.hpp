// `ripcord drift`: a scan, and what is made of it. The pieces that its outputs share.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cli/confirm.hpp"
#include "cli/context.hpp"
#include "core/base/files.hpp"
#include "plans/drift/drift_memory.hpp"
#include "plans/drift/drift_scan.hpp"

namespace ripcord::cli {

struct DriftOptions {
  std::optional<std::string> limit, unit;
  ScanManners manners;
  std::optional<Persistence> persist;  // else the fleet file's
  bool only_new = false, show_all = false, diff = false;
};

// A finished scan: already recorded (ledger and memory), unless `unrecorded` says why not.
struct DriftScan {
  WallTime at;
  Millis took{0};
  bool full = false;
  std::vector<std::string> units;
  std::vector<HostScan> hosts;
  std::vector<DriftItem> items;   // all of them
  std::vector<DriftItem> shown;   // as the options want them: alerting, new, …
  std::vector<DriftItem> gone;
  std::map<std::string, Readiness> ways_back;  // by unit
  WallTime last_full;
  std::string unrecorded;
  Exit exit = Exit::done;
  std::size_t answered() const;   // or need not: in quarantine
  std::size_t drifted() const;    // hosts with something shown that counts
};

DriftScan scan_for_drift(Context& context, const DriftOptions& options);

// One at a time for a fleet, across processes of this machine. Error(Exit::held) naming who is at it.
class DriftLock {
 public:
  explicit DriftLock(Context& context);

 private:
  Fd fd_;
};
std::string drift_memory_file(Context& context);

void add_diffs(Context& context, DriftScan& scan);  // of texts among what is shown

void report_drift(Context& context, const DriftScan& scan, const DriftOptions& options);
// Prometheus's text format, for node_exporter's textfile collector. Written beside FILE and renamed, mode 0644.
std::string drift_metrics(const std::string& fleet, const DriftScan& scan);
void write_textfile(const std::string& file, const std::string& text);
// One line as monitoring plugins print it, and their exit code: 0 OK, 1 WARNING, 2 CRITICAL.
std::string nagios_line(const DriftScan& scan, int& code);

Exit repair_drift(Context& context, const DriftOptions& options, const std::vector<std::string>& which, const Confirmation& given, const std::string& why);
Exit accept_drift(Context& context, const std::vector<std::string>& ids, const std::string& until, const std::string& why);

}  // namespace ripcord::cli
