// From what hosts told and what the ledger says to findings that have a cause: pure. Unreachable is never clean (promise 14).
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/net/link.hpp"
#include "manifests/shared/scan_messages.hpp"
#include "plans/files/fleet.hpp"
#include "plans/hosts/readiness.hpp"
#include "plans/ledger/drift_intent.hpp"

namespace ripcord {

// What one host answered, or why it did not.
struct HostScan {
  const Host* host = nullptr;
  std::optional<ScanReport> report;
  Millis clock_skew{0};             // the host's clock minus ours, when the report came
  std::string fault_name, fault, hint;
  LinkFault fault_kind = LinkFault::unreachable;
  std::string apart;                // in quarantine: until when and why; its silence is no news
};

enum class DriftCause {
  unaudited,       // nothing in the ledger explains it
  failed_install,  // the last rollout did not get this host where it should be
  away,            // it missed the last rollout: owed
  pending,         // a rollout is at it
  known,           // ignored or accepted by somebody, for a reason, until a day
};
std::string_view to_text(DriftCause cause);

struct DriftItem {
  std::string host, unit;   // unit "": of the host itself
  DriftFinding finding;
  DriftCause cause = DriftCause::unaudited;
  std::string why;          // one sentence behind the cause
  std::string expected;     // release, "1.1"
  std::string diff;         // of a text, when it was asked for; secrets masked by the host
  // Out of earlier scans (plans/drift/drift_memory.hpp):
  WallTime first_seen, last_seen, unseen_at;  // unseen_at: the newest scan before the first that did not find it; 0: none
  bool alerts = true, fresh = true;           // often enough to alert; for the first time now
  std::string key() const;  // names the difference, whatever else is found
  std::string id() const;   // short, for people and commands
  bool counts() const { return cause != DriftCause::pending && cause != DriftCause::known; }
};

// Somebody says that a finding is wanted: drift.ignore of a sealed unit.yaml, or `ripcord drift accept`.
struct Accepted {
  std::string key, detail;  // the finding, and what it was: other changes of the same file are drift again
  std::string by, why, until;  // until: YYYY-MM-DD, that day included
};

struct DriftInput {
  const Intents* before = nullptr;  // the ledger as read before the hosts were asked, and after: what moved meanwhile is pending
  const Intents* after = nullptr;
  std::function<std::vector<IgnoreRule>(const std::string& unit, const Intent& intent)> ignore;
  std::vector<Accepted> accepted;
  std::vector<std::string> units;   // asked about
  WallTime now;
};

inline constexpr Millis kClockOff{30000};

// In order of host, unit, kind, path.
std::vector<DriftItem> judge_drift(const std::vector<HostScan>& scans, const DriftInput& in);

// Could the rip cord be pulled now? By unit, of the hosts that were asked about it: what `doctor` and `hosts` say, out of a scan,
// which compares the way back as it does the rest.
std::map<std::string, Readiness> ways_back(const std::vector<HostScan>& scans, const Intents& intents, const std::vector<std::string>& units);

std::vector<Accepted> fold_accepted(const std::vector<LedgerEntry>& entries);
// 9 > 4 > 2 > 0. `items` as shown; a host that did not answer counts whatever is shown.
Exit drift_exit(const std::vector<HostScan>& scans, const std::vector<DriftItem>& items);

}  // namespace ripcord
