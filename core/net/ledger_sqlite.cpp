// The ledger in one SQLite file (docs/ledger.md). Two connections: one for the appending thread, one for everybody else.
#include <fmt/format.h>

#include <algorithm>

#include "core/base/error.hpp"
#include "core/net/ledger_chain.hpp"
#include "core/net/ledger_place.hpp"
#include "core/net/sqlite.hpp"

namespace ripcord {
namespace {

// The triggers keep mistakes out; whoever wants to lie can drop them, and the chain tells.
constexpr const char* kSchema = R"(
  PRAGMA application_id = 1380536387;
  CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE entries (seq INTEGER PRIMARY KEY, line BLOB NOT NULL, leaf BLOB NOT NULL);
  CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL, leaf BLOB NOT NULL);
  CREATE TABLE lease (scope TEXT PRIMARY KEY, holder TEXT NOT NULL, who TEXT NOT NULL, machine TEXT NOT NULL,
                      rollout TEXT NOT NULL, why TEXT NOT NULL, epoch INTEGER NOT NULL, acquired_ms INTEGER NOT NULL,
                      expires_ms INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TRIGGER entries_stay BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
  CREATE TRIGGER entries_remain BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
)";

class SqliteLedger : public LedgerStore {
 public:
  explicit SqliteLedger(const std::string& path) : writer_(path), reader_(path) {
    if (reader_.number("SELECT count(*) FROM sqlite_master") == 0) create();
    check_format();
    check_head();
  }

  // Who writes over the file takes no lock, and may come in the middle of a commit: what is acknowledged was read back.
  void append_all(std::vector<Batch>& batches) override {
    append_once(batches);
    try {
      auto& written = writer_;
      written.forget();
      require_seen(written);
    } catch (const Error& error) {
      if (error.exit() == Exit::integrity) throw;  // else somebody holds the lock, and it is as it was committed
    }
  }

  void append_once(std::vector<Batch>& batches) {
    SqliteTransaction transaction(writer_, SqliteTransaction::Kind::write);
    require_seen(writer_);
    const LedgerHead start = read_head(writer_);
    const auto head = stamp_batches(batches, start, [this](const Guard& guard) { require_lease(guard, stored_lease(writer_, guard.scope)); });
    SqliteStatement insert(writer_, "INSERT INTO entries (seq, line, leaf) VALUES (?1, ?2, ?3)");
    for (const auto& batch : batches)
      for (const auto& entry : batch.stored) insert.number(1, entry.seq).blob(2, entry.line).blob(3, bytes_of(entry.leaf)).run();
    if (head.size == start.size) return;
    write_head(head);
    try {
      transaction.commit();
      seen_.note(head);
    } catch (Error& error) {
      // Not "nothing was written" for sure: the failure may have come after the point of no return. Look.
      if (holds(head)) throw error.during("making entries durable that are already in the file: run the command again, it reads the ledger first");
      throw;
    }
  }

  std::vector<LedgerEntry> read(std::int64_t from_seq, std::size_t limit) override {
    reader_.forget();
    require_tables(reader_);
    SqliteStatement select(reader_, "SELECT seq, line, leaf FROM entries WHERE seq >= ?1 ORDER BY seq LIMIT ?2");
    select.number(1, from_seq).number(2, static_cast<std::int64_t>(std::min<std::size_t>(limit, INT64_MAX)));
    std::vector<LedgerEntry> entries;
    while (select.step()) entries.push_back(entry_of(select));
    if (!entries.empty()) seen_.note({entries.back().seq + 1, entries.back().leaf});
    return entries;
  }

  std::int64_t size() override { return reader_.number("SELECT size FROM head"); }
  std::string id() override { return meta("id"); }
  std::int64_t change_counter() override { return reader_.number("PRAGMA data_version"); }

  std::optional<Lease> lease(const std::string& scope) override {
    auto found = stored_lease(reader_, scope);
    if (found && found->holder.empty()) return std::nullopt;
    return found;
  }

  std::optional<Lease> acquire(Lease wanted, Millis ttl, std::int64_t at_least, bool take_over) override {
    SqliteTransaction transaction(reader_, SqliteTransaction::Kind::write);
    require_seen(reader_);
    auto stored = stored_lease(reader_, wanted.scope);
    wanted.acquired_ms = wall_now().ms;
    bool is_free = !stored || stored->holder.empty() || stored->holder == wanted.holder || stored->expires_ms <= wanted.acquired_ms;
    if (!is_free && !take_over) return std::nullopt;
    wanted.epoch = std::max(stored ? stored->epoch : 0, at_least) + 1;
    wanted.expires_ms = wanted.acquired_ms + ttl.count();
    SqliteStatement put(reader_, "INSERT OR REPLACE INTO lease VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)");
    put.text(1, wanted.scope).text(2, wanted.holder).text(3, wanted.who).text(4, wanted.machine).text(5, wanted.rollout).text(6, wanted.why);
    put.number(7, wanted.epoch).number(8, wanted.acquired_ms).number(9, wanted.expires_ms).run();
    transaction.commit();
    return wanted;
  }

  bool renew(const Lease& held, Millis ttl) override { return change_lease(held, held.holder, wall_now().ms + ttl.count()); }
  // The row stays: its epoch must never be given out again.
  void release(const Lease& held) override { change_lease(held, "", 0); }

 private:
  // Another process may be creating it right now: the lock decides, the loser finds the tables there.
  void create() {
    SqliteTransaction transaction(reader_, SqliteTransaction::Kind::write);
    if (reader_.number("SELECT count(*) FROM sqlite_master") != 0) return;
    reader_.exec(kSchema);
    std::string id = random_hex(16), created = format_utc(wall_now());
    std::string line = ledger_origin(id, created);
    Digest leaf = leaf_hash(line);
    SqliteStatement put(reader_, "INSERT INTO meta VALUES (?1, ?2)");
    put.text(1, "format").text(2, std::to_string(kLedgerFormat)).run();
    put.text(1, "id").text(2, id).run();
    put.text(1, "created").text(2, created).run();
    SqliteStatement(reader_, "INSERT INTO entries VALUES (0, ?1, ?2)").blob(1, line).blob(2, bytes_of(leaf)).run();
    SqliteStatement(reader_, "INSERT INTO head VALUES (1, 1, ?1)").blob(1, bytes_of(leaf)).run();
    transaction.commit();
  }

  static bool has_tables(SqliteDb& db) { return db.number("SELECT count(*) FROM sqlite_master WHERE name IN ('meta', 'entries', 'head', 'lease')") == 4; }

  void check_format() {
    if (!has_tables(reader_))
      throw Error(fmt::format("'{}' is an SQLite database, but not a ledger", reader_.path()), "name another path in fleet.yaml (ledger:)", Exit::integrity);
    auto format = meta("format");
    if (format != std::to_string(kLedgerFormat))
      throw Error(fmt::format("ledger '{}' has format '{}', this ripcord knows format {}", reader_.path(), escape_terminal(format), kLedgerFormat),
                  "use the newer ripcord that wrote it", Exit::integrity);
  }

  void check_head() {
    SqliteTransaction snapshot(reader_, SqliteTransaction::Kind::read);
    auto head = read_head(reader_);
    std::int64_t from = std::max<std::int64_t>(0, head.size - kCheckedOnOpen - 1);
    check_ledger_end(reader_.path(), read(from, static_cast<std::size_t>(kCheckedOnOpen) + 2), from, head);
  }

  LedgerHead read_head(SqliteDb& db) const {
    SqliteStatement select(db, "SELECT size, leaf FROM head");
    if (!select.step()) throw ledger_damaged(reader_.path(), "its head row is missing");
    return {select.number_at(0), ledger_digest(reader_.path(), select.bytes_at(1), "the head row")};
  }

  void write_head(const LedgerHead& head) {
    SqliteStatement(writer_, "UPDATE head SET size = ?1, leaf = ?2").number(1, head.size).blob(2, bytes_of(head.leaf)).run();
    if (writer_.changes() != 1) throw ledger_damaged(reader_.path(), "its head row is missing");
  }

  // It was a ledger when it was opened.
  static void require_tables(SqliteDb& db) {
    if (!has_tables(db))
      throw Error(fmt::format("ledger '{}' was emptied or replaced while it was in use; nothing was written", db.path()),
                  "put the newest good copy back; ripcord reconcile brings back from the hosts what it does not know", Exit::integrity);
  }

  // In the transaction that is going to write: the file may have been written over by an older copy since we last looked.
  void require_seen(SqliteDb& db) {
    require_tables(db);
    const auto before = seen_.get();
    SqliteStatement select(db, "SELECT leaf FROM entries WHERE seq = ?1");
    select.number(1, before.size - 1);
    std::optional<std::string> leaf;
    if (select.step()) leaf = select.bytes_at(0);
    require_still(reader_.path(), before, leaf);
  }

  bool holds(const LedgerHead& wanted) {
    try {
      if (writer_.in_transaction()) writer_.exec("ROLLBACK");
      return read_head(writer_).leaf == wanted.leaf;
    } catch (const Error&) {
      return false;
    }
  }

  LedgerEntry entry_of(const SqliteStatement& row) const { return ledger_entry(reader_.path(), row.number_at(0), row.bytes_at(1), row.bytes_at(2)); }

  std::string meta(const char* key) {
    SqliteStatement select(reader_, "SELECT value FROM meta WHERE key = ?1");
    select.text(1, key);
    return select.step() ? select.bytes_at(0) : std::string();
  }

  static std::optional<Lease> stored_lease(SqliteDb& db, const std::string& scope) {
    SqliteStatement row(db, "SELECT holder, who, machine, rollout, why, epoch, acquired_ms, expires_ms FROM lease WHERE scope = ?1");
    row.text(1, scope);
    if (!row.step()) return std::nullopt;
    return Lease{scope, row.bytes_at(0), row.bytes_at(1), row.bytes_at(2), row.bytes_at(3), row.bytes_at(4), row.number_at(5), row.number_at(6), row.number_at(7)};
  }

  bool change_lease(const Lease& held, const std::string& holder, std::int64_t expires_ms) {
    SqliteTransaction transaction(reader_, SqliteTransaction::Kind::write);
    require_seen(reader_);
    SqliteStatement update(reader_, "UPDATE lease SET holder = ?1, expires_ms = ?2 WHERE scope = ?3 AND holder = ?4 AND epoch = ?5");
    update.text(1, holder).number(2, expires_ms).text(3, held.scope).text(4, held.holder).number(5, held.epoch).run();
    bool ours = reader_.changes() == 1;
    transaction.commit();
    return ours;
  }

  SqliteDb writer_, reader_;
  SeenHead seen_;
};

}  // namespace

std::unique_ptr<LedgerStore> open_sqlite_ledger(const std::string& path) {
  prepare_ledger_place(path);
  return std::make_unique<SqliteLedger>(path);
}

}  // namespace ripcord
