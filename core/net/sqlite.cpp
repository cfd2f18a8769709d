#include "core/net/sqlite.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cerrno>

#include "core/base/error.hpp"
#include "core/base/files.hpp"
#include "core/net/lock_holder.hpp"

namespace ripcord {
namespace {

constexpr int kBusyTimeoutMs = 10000;

std::string system_reason(sqlite3* db) {
  int error = sqlite3_system_errno(db);
  return error ? errno_text(error) : std::string(sqlite3_errmsg(db));
}

}  // namespace

SqliteDb::SqliteDb(const std::string& path) : path_(absolute_path(path)) {
  // SQLite would create the file for everybody to read; an empty file is an empty database.
  Fd created(::open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!created && errno != EEXIST) throw os_error("create ledger", path_, errno);
  if (created) fsync_dir(parent_dir(path_));
  created.reset();
  int code = sqlite3_open_v2(path_.c_str(), &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX, nullptr);
  try {
    if (code != SQLITE_OK) fail(code);
    sqlite3_extended_result_codes(db_, 1);
    sqlite3_busy_timeout(db_, kBusyTimeoutMs);
    exec("PRAGMA synchronous = EXTRA");
    exec("PRAGMA journal_mode = DELETE");
    exec("PRAGMA trusted_schema = OFF");  // the file may come from elsewhere
  } catch (...) {
    sqlite3_close_v2(db_);
    throw;
  }
}

SqliteDb::~SqliteDb() { sqlite3_close_v2(db_); }

void SqliteDb::fail(int code) const {
  int full = db_ && sqlite3_extended_errcode(db_) ? sqlite3_extended_errcode(db_) : code;
  auto error = [this](const char* action, const std::string& why, std::string hint, Exit exit = Exit::error) {
    return Error(fmt::format("cannot {} ledger '{}': {}", action, path_, why), std::move(hint), exit);
  };
  switch (full & 0xff) {
    case SQLITE_FULL:
      throw error("write", "the disk is full; nothing was written",
                  fmt::format("free space on the file system of '{}', then run the command again", path_));
    case SQLITE_READONLY:
      if (full == SQLITE_READONLY_DBMOVED)
        throw error("write", "the file was moved away or replaced while it was in use; nothing was written",
                    "an older copy may have been restored: run the command again, it asks the hosts what they did; ripcord reconcile brings back what "
                    "the ledger no longer knows", Exit::integrity);
      throw error("write", "it may only be read; nothing was written",
                  fmt::format("check owner and mode of '{}' and of its folder, and that the file system is not mounted read-only", path_));
    case SQLITE_BUSY:
    case SQLITE_LOCKED: {
      auto who = lock_holder(path_);
      throw error("use", fmt::format("{} has held its lock for {} s; nothing was written", who ? who->text : "another process", kBusyTimeoutMs / 1000),
                  who && who->stopped ? fmt::format("it stands still: `kill -CONT {0}` lets it go on, `kill -9 {0}` ends it, and nothing that was acknowledged is lost", who->pid)
                                      : fmt::format("see who has it open: fuser -v '{}'", path_), Exit::held);
    }
    case SQLITE_CORRUPT:
      throw error("read", fmt::format("the file is damaged ({})", sqlite3_errmsg(db_)),
                  "keep the file as it is, and restore the newest copy beside it; docs/ledger.md says how to check one", Exit::integrity);
    case SQLITE_NOTADB:
      throw error("open", "the file is not an SQLite database",
                  "if it never was a ledger, name another path in fleet.yaml (ledger:)", Exit::integrity);
    case SQLITE_CANTOPEN:
      throw error("open", system_reason(db_), fmt::format("check owner and mode of '{}' and of its folder", path_));
    case SQLITE_IOERR:
      throw error("use", fmt::format("{}; what was being written may be there or not", system_reason(db_)),
                  "check the disk (dmesg), then run the command again: it reads the ledger before it acts");
    default:
      throw error("use", db_ ? sqlite3_errmsg(db_) : sqlite3_errstr(code), "");
  }
}

void SqliteDb::exec(const char* sql) {
  if (int code = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr); code != SQLITE_OK) fail(code);
}

std::int64_t SqliteDb::number(const char* sql) {
  SqliteStatement statement(*this, sql);
  return statement.step() ? statement.number_at(0) : 0;
}

void SqliteDb::forget() { sqlite3_db_release_memory(db_); }
int SqliteDb::changes() const { return sqlite3_changes(db_); }
bool SqliteDb::in_transaction() const { return sqlite3_get_autocommit(db_) == 0; }

SqliteStatement::SqliteStatement(SqliteDb& db, const char* sql) : db_(db) {
  if (int code = sqlite3_prepare_v2(db_.db_, sql, -1, &statement_, nullptr); code != SQLITE_OK) db_.fail(code);
}

SqliteStatement::~SqliteStatement() { sqlite3_finalize(statement_); }

SqliteStatement& SqliteStatement::number(int parameter, std::int64_t value) {
  if (int code = sqlite3_bind_int64(statement_, parameter, value); code != SQLITE_OK) db_.fail(code);
  return *this;
}

SqliteStatement& SqliteStatement::text(int parameter, std::string_view value) {
  int code = sqlite3_bind_text64(statement_, parameter, value.data() ? value.data() : "", value.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  if (code != SQLITE_OK) db_.fail(code);
  return *this;
}

SqliteStatement& SqliteStatement::blob(int parameter, std::string_view value) {
  int code = sqlite3_bind_blob64(statement_, parameter, value.data() ? value.data() : "", value.size(), SQLITE_TRANSIENT);
  if (code != SQLITE_OK) db_.fail(code);
  return *this;
}

bool SqliteStatement::step() {
  int code = sqlite3_step(statement_);
  if (code != SQLITE_ROW && code != SQLITE_DONE) db_.fail(code);
  return code == SQLITE_ROW;
}

void SqliteStatement::run() {
  step();
  sqlite3_reset(statement_);
}

std::int64_t SqliteStatement::number_at(int column) const { return sqlite3_column_int64(statement_, column); }

std::string SqliteStatement::bytes_at(int column) const {
  const auto* data = static_cast<const char*>(sqlite3_column_blob(statement_, column));
  return data ? std::string(data, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))) : std::string();
}

SqliteTransaction::SqliteTransaction(SqliteDb& db, Kind kind) : db_(db) {
  db_.forget();
  db_.exec(kind == Kind::write ? "BEGIN IMMEDIATE" : "BEGIN");
}

SqliteTransaction::~SqliteTransaction() {
  if (!open_ || !db_.in_transaction()) return;  // some failures have rolled back already
  try {
    db_.exec("ROLLBACK");
  } catch (const Error&) {  // the journal stays and the next opener rolls back
  }
}

void SqliteTransaction::commit() {
  db_.exec("COMMIT");
  open_ = false;
}

}  // namespace ripcord
