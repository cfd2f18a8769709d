// The request `scan` (docs/protocol.md): what on this host differs from what its own journal says should be there. Read only;
// nothing but findings comes back. Whether a finding is drift, the controller says, which also knows the ledger (plans/drift/drift.hpp).
#pragma once
#include "manifests/shared/messages.hpp"

namespace ripcord {

struct ScanRequest {
  std::vector<UnitRef> units;      // to be compared
  std::vector<std::string> roots;  // install roots in which other units may lie
  bool full = false;               // hash every byte; else files are trusted whose size, times and inode are those of their last hash
  bool low_priority = true;        // nice 19 (5 when not full), idle I/O class
  std::uint64_t max_rate = 0;      // bytes read a second; 0: as fast as it goes
  int threads = 0;                 // for hashing; 0: as the host has cores
};

// One difference. Kinds, each a way in which a host is tampered with:
//   of files, in the release (path in it) or placed by it (absolute path): changed, mode, owner, missing, extra, link, type, xattr,
//   unreadable · of the unit: current (the link was moved), way_back (path in the release that a rollback returns to), record (what
//   the host noted about a release), journal · of processes: not_running, other_release, deleted_binary, not_restarted ·
//   of the host: helper. The controller adds wrong_release, foreign_unit, clock, and journal where it went back.
struct DriftFinding {
  std::string kind, path, detail;  // detail: expected and found
  // What the host tells about who did it; empty and 0 where it tells nothing. Of a missing file: of the folder it was in.
  std::string owner;
  std::int64_t mtime_ms = 0, ctime_ms = 0;
};

struct UnitScan {
  std::string unit;
  Observation::Current current = Observation::Current::none;
  std::string link_target;
  std::optional<ReleaseId> intended;  // by the journal
  std::optional<ReleaseId> running;   // what `current` names, when it is a release
  std::optional<ReleaseId> way_back;  // compared as well: what `rollback` returns to, or would if `current` were where it should be
  std::string back_state;             // could it go there now: "verified", "damaged", "missing", "none", as in an Observation
  std::int64_t back_ms = 0;           // about how long that would take; 0: not known
  bool in_motion = false;             // an operation is open, or the journal grew meanwhile
  std::vector<DriftFinding> findings;
  std::uint64_t more = 0;             // findings beyond the first kMaxScanFindings
  std::optional<OpState> last_op;
  std::int64_t journal_seq = 0;
  std::string journal_hash, ledger_id;
  std::uint64_t files = 0, hashed = 0, hashed_bytes = 0;
};
inline constexpr std::size_t kMaxScanFindings = 200;

struct Login {
  std::string user, from;
  std::int64_t at_ms = 0;
};

struct ScanReport {
  std::vector<UnitScan> units;         // as asked, in order
  std::vector<UnitRef> others;         // units that lie here and were not asked for
  std::vector<DriftFinding> findings;  // of the host itself
  std::vector<Login> logins;           // the newest ten, when there is a finding and they can be read
  std::string arch;                    // of the host, which its tree depends on
  std::int64_t wall_ms = 0;            // by the host's clock, when the report was made
};

json::object to_json(const ScanRequest&);
ScanRequest scan_request_from_json(const json::object&);
json::object to_json(const ScanReport&);
ScanReport scan_report_from_json(const json::object&);
json::object to_json(const DriftFinding&);
DriftFinding drift_finding_from_json(const json::object&);

}  // namespace ripcord
