// The ledger: an append-only log of JSON lines, each chained to the one before (docs/ledger.md). The stored UTF-8 bytes are
// what is hashed: leaf = SHA-256(0x00 || line) as RFC 6962; "prev" in each line is the leaf of the line before, entry 0 names the
// ledger's id and origin. Appending is one transaction that also moves the head row: compare-and-set, any number of processes.
//
// Writes happen on the ledger's own thread with group commit; append() returns when the entries are durable. Reading is on
// the caller's thread. One Ledger a process; not thread-safe beyond that.
#pragma once
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/async.hpp"
#include "core/base/clock.hpp"
#include "core/base/digest.hpp"
#include "core/base/error.hpp"
#include "core/base/json.hpp"

namespace ripcord {

struct LedgerEntry {
  std::int64_t seq = 0;
  std::string line;    // as stored
  Digest leaf;
  json::object body;   // parsed line
};

struct Lease {
  std::string scope;     // the unit
  std::string holder;    // random id of the holding process
  std::string who, machine, rollout, why;
  std::int64_t epoch = 0;
  std::int64_t acquired_ms = 0, expires_ms = 0;  // by the ledger's clock
};

// Where entries live: a file (SQLite) or a database (PostgreSQL), alike but for where they wait. Blocking, with deadlines.
class LedgerStore {
 public:
  virtual ~LedgerStore() = default;
  // Guard: when set, refuse (Error, Exit::held) unless the lease row of `scope` names this epoch and holder.
  struct Guard {
    std::string scope, holder;
    std::int64_t epoch = 0;
  };
  using Stamp = std::function<std::string(std::int64_t seq, const Digest& prev)>;  // makes the final line
  // Group commit: several callers' lines, in order, in one transaction. A batch whose guard or stamp fails has `refused` set and
  // leaves nothing; the others go on. Throws when the transaction itself failed: then nobody's lines are there.
  struct Batch {
    std::vector<Stamp> lines;
    std::optional<Guard> guard;
    std::vector<LedgerEntry> stored;
    std::exception_ptr refused;
  };
  virtual void append_all(std::vector<Batch>& batches) = 0;
  // One caller's.
  std::vector<LedgerEntry> append(const std::vector<Stamp>& lines, const std::optional<Guard>& guard);
  virtual std::vector<LedgerEntry> read(std::int64_t from_seq, std::size_t limit) = 0;
  virtual std::int64_t size() = 0;
  virtual std::string id() = 0;
  // Changes when another process may have written; cheap (PRAGMA data_version + head).
  virtual std::int64_t change_counter() = 0;

  // The lease as it stands, also when expired; nullopt when it was never taken or has been released.
  virtual std::optional<Lease> lease(const std::string& scope) = 0;
  // Takes a free or expired lease (or any, with take_over) with epoch max(stored, at_least) + 1; nullopt when held by another.
  virtual std::optional<Lease> acquire(Lease wanted, Millis ttl, std::int64_t at_least, bool take_over) = 0;
  // False: another holder or epoch has it. An expired lease that nobody took can be renewed.
  virtual bool renew(const Lease& held, Millis ttl) = 0;
  virtual void release(const Lease& held) = 0;

  // Calls go over a network: Ledger makes those of a running rollout on its own thread.
  virtual bool remote() const { return false; }
  // What a person should know about how safe it is; known once it is open.
  virtual std::vector<std::string> warnings() { return {}; }
};

// Opens or creates. Rollback journal, synchronous=EXTRA, busy timeout 10 s; refuses network file systems; a database of a newer
// format or a broken chain at its head is Error with Exit::integrity.
std::unique_ptr<LedgerStore> open_sqlite_ledger(const std::string& path);

// Connects, and makes the tables when they are not there. The first connection fails at once; later ones that break are made again
// for `patience`. A COMMIT whose answer did not come is found again by its operation id. Messages never hold the password.
std::unique_ptr<LedgerStore> open_postgres_ledger(const std::string& address, Millis patience);

struct LedgerMoved : Error {
  LedgerMoved() : Error("the ledger has moved on since it was read") {}
};

class Ledger {
 public:
  // `who` (a person) and `machine` go on every entry.
  // Writing::inline_: commits on the caller's thread, one by one; for virtual time, where a thread would race with the clock.
  enum class Writing { own_thread, inline_ };
  Ledger(Loop& loop, Clock& clock, std::unique_ptr<LedgerStore> store, std::string who, std::string machine,
         Writing writing = Writing::own_thread);
  ~Ledger();  // waits for what is queued

  // "<32 hex digits>@<machine that made it>": what hosts keep, and name when another ledger comes.
  const std::string& id() const { return id_; }

  // Appends {"seq","prev","time","who","machine", ...body}; resumes when durable. Entries appended in one call are one transaction.
  // Error: disk full, fenced (Exit::held), integrity.
  Task<std::vector<LedgerEntry>> append(std::vector<json::object> bodies, std::optional<LedgerStore::Guard> guard = {});
  // The same, if the ledger still has `size` entries: else LedgerMoved, and nothing was written. For what must not be written past
  // an entry that its author has not read.
  Task<std::vector<LedgerEntry>> append_at(std::int64_t size, std::vector<json::object> bodies, std::optional<LedgerStore::Guard> guard = {});

  // Entries from_seq.. (all processes' entries, not only ours). Blocking, short.
  std::vector<LedgerEntry> read(std::int64_t from_seq, std::size_t limit = 100000);
  // The same, and renewing a lease, without holding up the loop while a database answers.
  Task<std::vector<LedgerEntry>> read_later(std::int64_t from_seq);
  Task<bool> renew(Lease held, Millis ttl);
  // True, once, when entries were added that this Ledger did not append. Cheap poll, for watchers and steering. Leases are
  // not entries. May be true once too often, never once too few.
  bool changed_elsewhere();
  LedgerStore& store();      // lease calls; blocking, short

 private:
  struct Impl;
  Task<std::vector<LedgerEntry>> append_stamped(std::vector<LedgerStore::Stamp> lines, std::optional<LedgerStore::Guard> guard);
  std::vector<LedgerStore::Stamp> stamps(std::vector<json::object> bodies) const;
  std::unique_ptr<Impl> impl_;
  std::string id_;
};

// Verifies a run of lines: each prev, each seq, each leaf, from the stored bytes. Returns the sequence number at which the
// first check failed, if any: of the altered line, of the first missing one, or, for a line altered together with its leaf, of
// the line after it. That something was cut off the end only the head row and checkpoints on hosts can tell.
std::optional<std::int64_t> find_broken_link(const std::vector<LedgerEntry>& entries, const Digest& prev_of_first);

}  // namespace ripcord
