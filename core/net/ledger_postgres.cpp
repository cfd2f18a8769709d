// The ledger in a PostgreSQL database (docs/ledger.md): the same lines, chain, guards and leases as in a file, for several machines.
// Two connections: one for the appending thread, one for everybody else. Every change begins by locking the head row, as a file's
// begins by locking the file, so that there is one writer at a time and a guard that held still holds at COMMIT.
#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <mutex>
#include <set>

#include "core/base/error.hpp"
#include "core/net/ledger_chain.hpp"
#include "core/net/postgres.hpp"

namespace ripcord {
namespace {

constexpr Millis kPause{200};                    // before a connection that broke is made again
constexpr std::int64_t kCreating = 0x72697063;   // advisory lock: one process makes the tables
// Not to_regclass(): within a transaction it remembers that there was none, also behind the lock of whoever made it.
constexpr const char* kHasTables = "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                                   "WHERE c.relname = 'ripcord_meta' AND n.nspname = ANY (current_schemas(false)))";
constexpr const char* kNow = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";

constexpr const char* kTables[] = {
    "CREATE TABLE ripcord_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    // op names the transaction that wrote the line: how a COMMIT without an answer is found again.
    "CREATE TABLE ripcord_entries (seq BIGINT PRIMARY KEY, line BYTEA NOT NULL, leaf BYTEA NOT NULL, op TEXT NOT NULL)",
    "CREATE TABLE ripcord_head (one BOOLEAN PRIMARY KEY CHECK (one), size BIGINT NOT NULL, leaf BYTEA NOT NULL)",
    "CREATE TABLE ripcord_lease (scope TEXT PRIMARY KEY, holder TEXT NOT NULL, who TEXT NOT NULL, machine TEXT NOT NULL, rollout TEXT NOT NULL, "
    "why TEXT NOT NULL, epoch BIGINT NOT NULL, acquired_ms BIGINT NOT NULL, expires_ms BIGINT NOT NULL)",
    "CREATE FUNCTION ripcord_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the ledger is append-only'; END $$",
    "CREATE TRIGGER entries_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON ripcord_entries EXECUTE FUNCTION ripcord_append_only()",
};

// SQLSTATEs after which the same may succeed on the next connection or at the next try: the server stops, was demoted to a
// standby, or somebody holds the lock just now.
bool passes(const std::string& state) {
  static const std::set<std::string> kPassing{"57P01", "57P02", "57P03", "25006", "40001", "40P01", "55P03", "57014", "57P05", "25P03"};
  return state.starts_with("08") || kPassing.contains(state);
}

std::int64_t number(const std::string& text) { return std::stoll(text); }

class PostgresLedger : public LedgerStore {
 public:
  PostgresLedger(const std::string& address, Millis patience) : writer_(PgAddress(address)), reader_(PgAddress(address)), patience_(patience) {
    place_ = writer_.connection.address().shown();
    with(reader_, false, [this](PgConnection& c, Elapsed until) {
      if (!has_tables(c, until)) create(c, until);
      check(c, until);
    });
    opened_ = true;
  }

  bool remote() const override { return true; }
  std::vector<std::string> warnings() override { return warnings_; }
  std::string id() override { return id_; }

  void append_all(std::vector<Batch>& batches) override {
    const std::string op = random_hex(16);
    bool unknown = false;  // a COMMIT has left, and its answer has not come
    with(writer_, true, [&](PgConnection& c, Elapsed until) { append_once(c, until, batches, op, unknown); }, &unknown);
  }

  std::vector<LedgerEntry> read(std::int64_t from_seq, std::size_t limit) override {
    std::vector<LedgerEntry> entries;
    with(reader_, false, [&](PgConnection& c, Elapsed until) { entries = read_from(c, until, from_seq, limit); });
    if (!entries.empty()) seen_.note({entries.back().seq + 1, entries.back().leaf});
    return entries;
  }

  std::int64_t size() override {
    std::int64_t size = 0;
    with(reader_, false, [&](PgConnection& c, Elapsed until) { size = read_head(c, until).size; });
    return size;
  }
  std::int64_t change_counter() override { return size(); }

  std::optional<Lease> lease(const std::string& scope) override {
    std::optional<Lease> found;
    with(reader_, false, [&](PgConnection& c, Elapsed until) { found = lease_of(c.run({lease_query(scope, false)}, until).at(0)); });
    if (found && found->holder.empty()) return std::nullopt;
    return found;
  }

  std::optional<Lease> acquire(Lease wanted, Millis ttl, std::int64_t at_least, bool take_over) override {
    std::optional<Lease> got;
    with(reader_, true, [&](PgConnection& c, Elapsed until) {
      got.reset();
      // A COMMIT without an answer is tried again: the row names us then, and we only take a higher epoch.
      auto rows = c.run({{"BEGIN"}, {"SELECT size FROM ripcord_head FOR UPDATE"}, lease_query(wanted.scope, true)}, until);
      bool expired = !rows[2].empty() && number(rows[2][0][7]) <= number(rows[2][0][9]);  // by the database's clock
      auto stored = lease_of(rows[2]);
      if (stored && !stored->holder.empty() && stored->holder != wanted.holder && !expired && !take_over) {
        c.run({{"ROLLBACK"}}, until);
        return;
      }
      wanted.epoch = std::max(stored ? stored->epoch : 0, at_least) + 1;
      auto put = c.run({{fmt::format("INSERT INTO ripcord_lease VALUES ($1, $2, $3, $4, $5, $6, $7::bigint, {0}, {0} + $8::bigint) ON CONFLICT (scope) DO UPDATE "
                                     "SET holder = $2, who = $3, machine = $4, rollout = $5, why = $6, epoch = $7::bigint, acquired_ms = {0}, "
                                     "expires_ms = {0} + $8::bigint", kNow),
                         {wanted.scope, wanted.holder, wanted.who, wanted.machine, wanted.rollout, wanted.why, wanted.epoch, ttl.count()}},
                        lease_query(wanted.scope, false), {"COMMIT"}}, until);
      got = lease_of(put[1]);
    });
    return got;
  }

  bool renew(const Lease& held, Millis ttl) override { return change_lease(held, held.holder, fmt::format("{} + {}", kNow, ttl.count())); }
  // The row stays: its epoch must never be given out again.
  void release(const Lease& held) override { change_lease(held, "", "0"); }

 private:
  struct Session {
    explicit Session(PgAddress address) : connection(std::move(address)) {}
    PgConnection connection;
    std::mutex busy;
  };

  // Runs `f` on an open connection. What may pass (a server that restarts, a fail-over) is tried again, on a new connection, while
  // there is time; a first connection that fails is not. `unknown`: whether a change may have been made all the same.
  template <class F>
  void with(Session& session, bool writes, F f, const bool* unknown = nullptr) {
    std::lock_guard lock(session.busy);
    auto& c = session.connection;
    const Elapsed until = boot_now() + patience_;
    while (true) {
      std::string why;
      try {
        if (!c.is_open()) connect(c, until);
        return f(c, until);
      } catch (const PgLost& e) {
        if (!opened_) throw unreachable(e.message(), writes, false);
        why = e.message();
      } catch (const PgRefused& e) {
        c.close();  // with its transaction
        if (!passes(e.sqlstate())) throw refused(e, writes);
        why = e.message();
      } catch (...) {
        c.close();
        throw;
      }
      if (boot_now() + kPause >= until) throw unreachable(why, writes, unknown && *unknown);
      ::poll(nullptr, 0, static_cast<int>(kPause.count()));
    }
  }

  void connect(PgConnection& c, Elapsed until) {
    c.open(until);
    // An acknowledged entry must be on the server's disk, and where it has a synchronous standby, there too. The timeouts let go
    // of locks of a process that the network has swallowed.
    auto rows = c.run({{"SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local')"},
                       {"SELECT set_config('statement_timeout', '15s', false), set_config('lock_timeout', '12s', false), "
                        "set_config('idle_in_transaction_session_timeout', '10s', false), "
                        "set_config('default_transaction_isolation', 'read committed', false), set_config('bytea_output', 'hex', false)"},
                       {"SELECT current_setting('synchronous_commit'), current_setting('fsync'), current_setting('full_page_writes')"}},
                      until);
    const auto& now = rows[2].at(0);
    if (now[0] == "off" || now[0] == "local")
      throw Error(fmt::format("ledger '{}' would confirm what is not safe: synchronous_commit is {}, and cannot be changed", place_, now[0]),
                  "set synchronous_commit = on for this database or role", Exit::refused);
    if (now[1] != "on" || now[2] != "on") {
      std::string text = fmt::format("the server of ledger '{}' runs with fsync={} and full_page_writes={}: a power cut there can lose or damage what was written", place_, now[1], now[2]);
      if (std::find(warnings_.begin(), warnings_.end(), text) == warnings_.end()) warnings_.push_back(text);
    }
    if (opened_) require_seen(c, until);
  }

  // --- what was seen once is still there -----------------------------------------------------------------------------------
  void require_seen(PgConnection& c, Elapsed until) {
    auto before = seen_.get();
    require_still(place_, before, leaf_in(c.run({leaf_query(before)}, until).at(0)));
  }
  static std::optional<std::string> leaf_in(const PgRows& rows) { return rows.empty() ? std::nullopt : std::optional<std::string>(rows[0][0]); }
  static PgQuery leaf_query(const LedgerHead& head) { return {"SELECT leaf FROM ripcord_entries WHERE seq = $1::bigint", {PgValue(head.size - 1)}, true}; }

  // --- entries -----------------------------------------------------------------------------------------------------------------
  LedgerHead head_of(const PgRows& rows) const {
    if (rows.empty()) throw ledger_damaged(place_, "its head row is missing");
    return {pg_int64(rows[0][0]), ledger_digest(place_, rows[0][1], "the head row")};
  }
  LedgerHead read_head(PgConnection& c, Elapsed until) {
    return head_of(c.run({{"SELECT size, leaf FROM ripcord_head", {}, true}}, until).at(0));
  }
  std::vector<LedgerEntry> read_from(PgConnection& c, Elapsed until, std::int64_t from, std::size_t limit) {
    auto most = static_cast<std::int64_t>(std::min<std::size_t>(limit, INT64_MAX));
    auto rows = c.run({{"SELECT seq, line, leaf FROM ripcord_entries WHERE seq >= $1::bigint ORDER BY seq LIMIT $2::bigint", {PgValue(from), PgValue(most)}, true}}, until);
    std::vector<LedgerEntry> entries;
    for (auto& row : rows[0]) entries.push_back(ledger_entry(place_, pg_int64(row[0]), std::move(row[1]), row[2]));
    return entries;
  }

  void append_once(PgConnection& c, Elapsed until, std::vector<Batch>& batches, const std::string& op, bool& unknown) {
    const auto before = seen_.get();
    std::vector<std::string> scopes;
    for (const auto& b : batches)
      if (b.guard && std::find(scopes.begin(), scopes.end(), b.guard->scope) == scopes.end()) scopes.push_back(b.guard->scope);
    // Once the row is locked, an earlier try of ours has either committed or never will.
    std::vector<PgQuery> first{{"BEGIN"}, {"SELECT size, leaf FROM ripcord_head FOR UPDATE", {}, true}, leaf_query(before),
                               {"SELECT count(*) FROM ripcord_entries WHERE $1 AND op = $2", {PgValue(unknown ? "true" : "false"), PgValue(op)}}};
    for (const auto& scope : scopes) first.push_back(lease_query(scope, false));
    auto rows = c.run(first, until);
    require_still(place_, before, leaf_in(rows[2]));
    if (unknown && rows[3].at(0)[0] != "0") {
      c.run({{"ROLLBACK"}}, until);
      unknown = false;
      return;
    }
    const auto start = head_of(rows[1]);
    const auto head = stamp_batches(batches, start, [&](const Guard& guard) {
      auto at = std::find(scopes.begin(), scopes.end(), guard.scope) - scopes.begin();
      require_lease(guard, lease_of(rows[4 + static_cast<std::size_t>(at)]));
    });
    if (head.size == start.size) {
      c.run({{"ROLLBACK"}}, until);
      return;
    }
    std::vector<PgQuery> second;
    for (const auto& batch : batches)
      for (const auto& entry : batch.stored)
        second.push_back({"INSERT INTO ripcord_entries VALUES ($1::bigint, $2, $3, $4)",
                          {PgValue(entry.seq), PgValue::raw(entry.line), PgValue::raw(bytes_of(entry.leaf)), PgValue(op)}});
    second.push_back({"UPDATE ripcord_head SET size = $1::bigint, leaf = $2", {PgValue(head.size), PgValue::raw(bytes_of(head.leaf))}});
    second.push_back({"COMMIT"});
    unknown = true;
    try {
      c.run(second, until);
    } catch (const PgRefused&) {
      unknown = false;
      throw;
    }
    unknown = false;
    seen_.note(head);
    if (!c.warnings().empty())  // how a primary says that it gave up waiting for its standby
      throw Error(fmt::format("ledger '{}' holds the entries, but may lose them: {}", place_, join(c.warnings(), "; ")),
                  "see to its standby, then run the command again: it reads the ledger before it acts");
  }

  // --- leases: rows hold the database's time; callers get their own machine's, so that clocks may differ ---------------------------
  static PgQuery lease_query(const std::string& scope, bool lock) {
    return {fmt::format("SELECT holder, who, machine, rollout, why, epoch, acquired_ms, expires_ms, scope, {} FROM ripcord_lease WHERE scope = $1{}", kNow,
                        lock ? " FOR UPDATE" : ""), {PgValue(scope)}};
  }
  static std::optional<Lease> lease_of(const PgRows& rows) {
    if (rows.empty()) return std::nullopt;
    const auto& r = rows[0];
    auto offset = wall_now().ms - number(r[9]);
    return Lease{r[8], r[0], r[1], r[2], r[3], r[4], number(r[5]), number(r[6]) + offset, number(r[7]) + offset};
  }
  bool change_lease(const Lease& held, const std::string& holder, const std::string& expires) {
    bool ours = false;
    with(reader_, true, [&](PgConnection& c, Elapsed until) {
      auto rows = c.run({{fmt::format("UPDATE ripcord_lease SET holder = $1, expires_ms = {} WHERE scope = $2 AND epoch = $3::bigint AND holder IN ($1, $4) RETURNING 1", expires),
                          {PgValue(holder), PgValue(held.scope), PgValue(held.epoch), PgValue(held.holder)}}}, until);
      ours = !rows.at(0).empty();
    });
    return ours;
  }

  // --- opening ---------------------------------------------------------------------------------------------------------------
  static bool has_tables(PgConnection& c, Elapsed until) {
    return c.run({{kHasTables}}, until).at(0).at(0)[0] == "t";
  }

  // Another process may be creating them right now: the advisory lock decides, the loser finds the tables there.
  void create(PgConnection& c, Elapsed until) {
    auto there = c.run({{"BEGIN"}, {"SELECT pg_advisory_xact_lock($1::bigint)", {PgValue(kCreating)}}, {kHasTables}}, until);
    if (there[2].at(0)[0] == "t") {
      c.run({{"ROLLBACK"}}, until);
      return;
    }
    std::string id = random_hex(16), created = format_utc(wall_now());
    std::string line = ledger_origin(id, created);
    Digest leaf = leaf_hash(line);
    std::vector<PgQuery> all;
    for (const char* sql : kTables) all.push_back({sql});
    for (const auto& [key, value] : {std::pair<const char*, std::string>{"format", std::to_string(kLedgerFormat)}, {"id", id}, {"created", created}})
      all.push_back({"INSERT INTO ripcord_meta VALUES ($1, $2)", {PgValue(key), PgValue(value)}});
    all.push_back({"INSERT INTO ripcord_entries VALUES (0, $1, $2, $3)", {PgValue::raw(line), PgValue::raw(bytes_of(leaf)), PgValue(id)}});
    all.push_back({"INSERT INTO ripcord_head VALUES (true, 1, $1)", {PgValue::raw(bytes_of(leaf))}});
    all.push_back({"COMMIT"});
    c.run(all, until);
  }

  void check(PgConnection& c, Elapsed until) {
    std::string format;
    auto meta = c.run({{"SELECT key, value FROM ripcord_meta"}}, until);
    for (const auto& row : meta[0]) {
      if (row[0] == "format") format = row[1];
      if (row[0] == "id") id_ = row[1];
    }
    if (format != std::to_string(kLedgerFormat) || id_.empty())
      throw Error(fmt::format("ledger '{}' has format '{}', this ripcord knows format {}", place_, escape_terminal(format), kLedgerFormat),
                  "use the newer ripcord that wrote it", Exit::integrity);
    // Head and entries of one moment: others may be appending.
    c.run({{"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"}}, until);
    auto head = read_head(c, until);
    auto from = std::max<std::int64_t>(0, head.size - kCheckedOnOpen - 1);
    auto entries = read_from(c, until, from, static_cast<std::size_t>(kCheckedOnOpen) + 2);
    c.run({{"COMMIT"}}, until);
    check_ledger_end(place_, std::move(entries), from, head);
    seen_.note(head);
  }

  // --- errors ------------------------------------------------------------------------------------------------------------------
  Error unreachable(const std::string& why, bool writes, bool unknown) const {
    auto state = unknown ? "; whether what was being written is there could not be learned" : writes ? "; nothing was written" : "";
    return Error(fmt::format("cannot reach ledger '{}': {}{}", place_, why, state),
                 unknown ? "run the command again once the database answers: it reads the ledger before it acts"
                         : "check that the database runs and that this machine may connect (psql with the same address)");
  }
  Error refused(const PgRefused& e, bool writes) const {
    auto error = [&](std::string hint, Exit exit = Exit::error) {
      return Error(fmt::format("cannot {} ledger '{}': {}{}", writes ? "write" : "use", place_, e.message(), writes ? "; nothing was written" : ""), std::move(hint), exit);
    };
    if (e.sqlstate() == "42501") return error("the role needs CREATE on the schema for the first use, and SELECT, INSERT and UPDATE on the tables ripcord_*");
    if (e.sqlstate().starts_with("53")) return error("free space or connections on the database server, then run the command again");
    if (e.sqlstate() == "42P01" || e.sqlstate() == "42703") return error("its tables are not all there: restore them, or name another database or schema in fleet.yaml (ledger:)", Exit::integrity);
    return error("");
  }

  std::string place_, id_;
  Session writer_, reader_;
  const Millis patience_;
  bool opened_ = false;
  SeenHead seen_;
  std::vector<std::string> warnings_;
};

}  // namespace

std::unique_ptr<LedgerStore> open_postgres_ledger(const std::string& address, Millis patience) {
  return std::make_unique<PostgresLedger>(address, patience);
}

}  // namespace ripcord
