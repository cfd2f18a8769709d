// SQLite behind two small RAII types; the only place that includes sqlite3.h. Blocking; one connection is used by one thread
// at a time. Every failure is an Error that names the file, the cause and the cure; a full disk, a read-only file and a lock
// held too long say that nothing was written (the transaction is rolled back by Transaction's end).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace ripcord {

class SqliteDb {
 public:
  // Opens or creates `path` (mode 0600): rollback journal, synchronous=EXTRA, busy timeout 10 s. A file that may only be read is
  // opened for reading; writing to it fails later.
  explicit SqliteDb(const std::string& path);
  ~SqliteDb();
  SqliteDb(const SqliteDb&) = delete;
  SqliteDb& operator=(const SqliteDb&) = delete;

  void exec(const char* sql);
  std::int64_t number(const char* sql);  // first column of the first row; 0 without a row
  int changes() const;                   // rows changed by the last statement
  bool in_transaction() const;
  const std::string& path() const { return path_; }
  // Everything is read from the file again. SQLite believes what it has in memory while a counter in the file is the same; somebody who
  // writes an older copy over the file may bring just that counter, and pages of two histories would be written into one file.
  void forget();

 private:
  friend class SqliteStatement;
  [[noreturn]] void fail(int code) const;
  std::string path_;
  sqlite3* db_ = nullptr;
};

// A prepared statement. Parameters and columns count from 1 and 0, as in SQLite. Text and blobs are copied.
class SqliteStatement {
 public:
  SqliteStatement(SqliteDb& db, const char* sql);
  ~SqliteStatement();
  SqliteStatement(const SqliteStatement&) = delete;
  SqliteStatement& operator=(const SqliteStatement&) = delete;

  SqliteStatement& number(int parameter, std::int64_t value);
  SqliteStatement& text(int parameter, std::string_view value);
  SqliteStatement& blob(int parameter, std::string_view value);
  bool step();  // true: a row is there
  void run();   // one step, then reset, ready for new parameters

  std::int64_t number_at(int column) const;
  std::string bytes_at(int column) const;

 private:
  SqliteDb& db_;
  sqlite3_stmt* statement_ = nullptr;
};

// BEGIN IMMEDIATE (a write lock from the start, so that two writers never deadlock) or BEGIN, from what the file holds (forget());
// rolled back unless committed.
class SqliteTransaction {
 public:
  enum class Kind { read, write };
  SqliteTransaction(SqliteDb& db, Kind kind);
  ~SqliteTransaction();
  SqliteTransaction(const SqliteTransaction&) = delete;
  SqliteTransaction& operator=(const SqliteTransaction&) = delete;
  void commit();

 private:
  SqliteDb& db_;
  bool open_ = true;
};

}  // namespace ripcord
