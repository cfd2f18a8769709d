// The facts about one unit on this host: JSON lines, each with seq, prev (SHA-256 of the previous line without its newline; 64
// zeros first), kind, at (UTC), boot (boot id), and members of its kind. Appended with one write and one fsync under the unit's
// lock. A torn last line is dropped in silence (it was never acknowledged); damage before it is reported, and nothing is written.
//
// Kinds and their members ("release" stands for {"version","manifest","tree"} or null):
//   CREATED          host_id, unit, root                       written by append() as first record
//   LABELS           labels, arch
//   STAGED           release, files, bytes
//   FENCE            epoch, holder, ledger_id; by a rollback that switches nothing here also op, who, why, intended (release)
//   INTENT           op, rollout, forward, from, to, epoch, holder, ledger_id, who, why, within_ms, and what the writer adds
//   ARMED            op, strength ("strong" | "weak"), deadline_us (CLOCK_BOOTTIME of the record's boot)
//   MARKED           release                               prune may remove it, if nothing happens to it until then
//   PRUNED           release, bytes                        about to be removed
//   ATTEMPT          op, attempt                           going back: the release is being brought up once more
//   ACTIVATED, CONFIRMED, REVERTING, REVERTED, FAILED_UNCHANGED, NEEDS_OPERATOR      op, detail (optional)
#pragma once
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/digest.hpp"
#include "core/base/files.hpp"
#include "core/base/json.hpp"
#include "manifests/host/host_context.hpp"
#include "manifests/host/layout.hpp"

namespace ripcord {

struct JournalRecord {
  std::int64_t seq = 0;
  std::string kind, boot;
  std::int64_t at_ms = 0;
  json::object body;   // the whole record
  std::string line;    // as stored, without newline
  Digest hash;         // of `line`
};

class UnitLock;

class Journal {
 public:
  // Reads what is there; a missing file is an empty journal. Never writes. HostFailure journal_damaged.
  explicit Journal(const UnitLayout& unit);

  const std::vector<JournalRecord>& records() const& { return records_; }
  std::vector<JournalRecord> records() && { return std::move(records_); }  // of a temporary, also in a range-for
  std::int64_t seq() const { return records_.empty() ? 0 : records_.back().seq; }
  std::string head_hash() const { return records_.empty() ? std::string() : records_.back().hash.hex(); }

  // Durable when it returns. `lock` proves that nobody else writes; the journal must have been read under it.
  // After an exception the outcome is unknown: this object refuses further appends; read again. What could not be made durable is not
  // read back.
  const JournalRecord& append(HostContext& host, const UnitLock& lock, std::string_view kind, json::object members);

  // Keeps kReserve bytes allocated behind the end, so that the way back can append on a full disk. Called before an INTENT.
  // HostFailure no_space.
  void reserve(HostContext& host, const UnitLock& lock);
  static constexpr std::int64_t kReserve = 64 * 1024;

 private:
  void open_for_append(HostContext& host);
  void take_back(std::size_t bytes);
  UnitLayout unit_;
  std::vector<JournalRecord> records_;
  std::uint64_t end_ = 0;      // bytes of complete lines
  std::uint64_t size_ = 0;     // of the file; what lies behind end_ is torn
  bool failed_ = false;
  Fd fd_;
};

// Units with a journal on this host, with the root from CREATED. Those that cannot be read are left out, and those in `but`, which
// are not read.
std::vector<UnitRef> known_units(const Layout& layout, const std::set<std::string>& but = {});

}  // namespace ripcord
