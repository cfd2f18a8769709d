// What tests of ledgers share: entries, leases, a chain checked by other code than ours, a bench with loop and clock, and the server
// that tests of PostgreSQL use together.
#pragma once
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "core/base/files.hpp"
#include "core/net/ledger.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/pg_server.hpp"
#include "tests/support/temp_dir.hpp"

namespace ripcord::test {

json::object body(std::string kind, std::int64_t n = 0);
LedgerStore::Stamp stamp(std::int64_t n);
Lease wanted(std::string holder);
std::multiset<std::int64_t> numbers(LedgerStore& store);   // "n" of every entry but the first

void require_chain(const std::vector<LedgerEntry>& entries);  // by OpenSSL's one-shot hash: not the code under test

template <class F>
Error error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e;
  }
  FAIL("no Error was thrown");
  return Error("unreachable");
}

struct Child {  // a process that runs f and hands back what it returned
  explicit Child(const std::function<std::string()>& f);
  std::string finish();  // "died" when it did not get to its end
  pid_t pid = -1;
  Fd from;
};
inline std::string in_child(const std::function<std::string()>& f) { return Child(f).finish(); }

struct Folder : TempDir {
  std::string db() const { return *this / "ledger.db"; }
};

struct Bench {  // a loop, a clock and a ledger
  explicit Bench(std::unique_ptr<LedgerStore> store) : ledger(loop, clock, std::move(store), "alice", "desk") {}
  Loop loop;
  ManualClock clock{WallTime{1795176000123}};
  Ledger ledger;

  std::vector<LedgerEntry> append(std::vector<json::object> bodies, std::optional<LedgerStore::Guard> guard = {});
  Task<> keep(std::vector<json::object> bodies, std::optional<LedgerStore::Guard> guard, std::vector<LedgerEntry>* out);
  Task<> note_error(std::vector<json::object> bodies, std::optional<LedgerStore::Guard> guard, std::string* message, Exit* exit);
};

// One server for the tests that leave it as it is; each takes a schema of its own.
PgServer& shared_pg();
struct PgSchema {
  PgSchema();
  std::string name, url;
  std::string options() const;  // "?options=…": what to put behind another way to the same server
};
bool no_postgres();             // true, with a warning, where PostgreSQL is not installed

}  // namespace ripcord::test
