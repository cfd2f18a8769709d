// The ledger in PostgreSQL, against real servers: the same promises as in a file, and what a database adds: fail-over, a COMMIT whose
// answer does not come, standbys that lack entries, passwords (promises 3, 8, 15, 16).
#include <fmt/format.h>
#include <unistd.h>

#include <future>
#include <set>

#include "core/base/error.hpp"
#include "core/net/ledger_address.hpp"
#include "core/net/postgres.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/pg_server.hpp"
#include "tests/support/tcp_proxy.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

LedgerStore::Stamp stamp(std::int64_t n) {
  return [n](std::int64_t seq, const Digest& prev) {
    json::object o{{"seq", seq}, {"prev", prev.hex()}, {"n", n}};
    return json::serialize(o);
  };
}

Lease wanted(std::string holder) {
  Lease l;
  l.scope = "storefront";
  l.holder = std::move(holder);
  l.who = "alice";
  l.machine = "desk";
  l.rollout = "r1";
  l.why = "test";
  return l;
}

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

// One server for the tests that leave it as it is; each takes a schema of its own.
struct Shared {
  PgServer server;
  int schemas = 0;
};
Shared& shared() {
  static Shared one;
  return one;
}
std::string fresh_url() {
  auto name = fmt::format("s{}", ++shared().schemas);
  shared().server.sql("CREATE SCHEMA " + name);
  return shared().server.url() + "?options=-csearch_path%3D" + name;
}

void configure(const std::string& setting, const std::string& value) {
  shared().server.sql("ALTER SYSTEM SET " + setting + " = '" + value + "'");
  shared().server.sql("SELECT pg_reload_conf()");
  ::usleep(200000);
}

bool skipped() {
  if (PgServer::available()) return false;
  WARN("skipped: needs the package postgresql");
  return true;
}

std::multiset<std::int64_t> numbers(LedgerStore& store) {
  std::multiset<std::int64_t> out;
  for (const auto& e : store.read(1, 100000)) out.insert(get_int(e.body, "n"));
  return out;
}

}  // namespace

TEST_CASE("postgres ledger: lines, chain and origin are those of a file; several stores see each other") {
  if (skipped()) return;
  auto url = fresh_url();
  auto a = open_postgres_ledger(url, Millis(5000));
  CHECK(a->id().size() == 32);
  CHECK(a->remote());
  CHECK(a->warnings().empty());
  auto stored = a->append({stamp(1), stamp(2)}, {});
  REQUIRE(stored.size() == 2);
  auto b = open_postgres_ledger(url, Millis(5000));
  CHECK(b->id() == a->id());
  b->append({stamp(3)}, {});
  auto all = a->read(0, 100);
  REQUIRE(all.size() == 4);
  CHECK_FALSE(find_broken_link(all, Digest{}));
  CHECK(get_string(all[0].body, "kind") == "ledger.created");
  CHECK(get_string(all[0].body, "id") == a->id());
  CHECK(a->size() == 4);
  CHECK(a->change_counter() == b->change_counter());
  CHECK(a->read(2, 1).size() == 1);
  // Bytes are kept as they are.
  auto odd = [](std::int64_t seq, const Digest& prev) {
    return json::serialize(json::object{{"seq", seq}, {"prev", prev.hex()}, {"text", "ü\\\"\n\x01 😀"}});
  };
  auto kept = b->append({odd}, {});
  CHECK(a->read(4, 1).at(0).line == kept[0].line);
}

TEST_CASE("postgres ledger: a refused guard fails its own batch, and a lost lease leaves nothing") {
  if (skipped()) return;
  auto store = open_postgres_ledger(fresh_url(), Millis(5000));
  auto lease = store->acquire(wanted("me"), Millis(30000), 6, false);
  REQUIRE(lease);
  CHECK(lease->epoch == 7);
  std::vector<LedgerStore::Batch> batches(3);
  batches[0].lines = {stamp(1)};
  batches[0].guard = LedgerStore::Guard{"storefront", "me", 7};
  batches[1].lines = {stamp(2)};
  batches[1].guard = LedgerStore::Guard{"storefront", "me", 6};
  batches[2].lines = {stamp(3)};
  store->append_all(batches);
  CHECK_FALSE(batches[0].refused);
  CHECK_FALSE(batches[2].refused);
  REQUIRE(batches[1].refused);
  CHECK(error_of([&] { std::rethrow_exception(batches[1].refused); }).message() ==
        "the lease of 'storefront' (epoch 6) is no longer ours: alice on desk holds it with epoch 7 for rollout 'r1'; nothing was written");
  CHECK(numbers(*store) == std::multiset<std::int64_t>{1, 3});
  CHECK_FALSE(find_broken_link(store->read(0, 100), Digest{}));
}

TEST_CASE("postgres ledger: leases run on the database's clock") {
  if (skipped()) return;
  auto url = fresh_url();
  auto store = open_postgres_ledger(url, Millis(5000)), other = open_postgres_ledger(url, Millis(5000));
  auto first = store->acquire(wanted("a"), Millis(60000), 0, false);
  REQUIRE(first);
  CHECK(first->epoch == 1);
  CHECK_FALSE(other->acquire(wanted("b"), Millis(60000), 0, false));
  auto seen = other->lease("storefront");
  REQUIRE(seen);
  CHECK(seen->holder == "a");
  CHECK(seen->why == "test");
  CHECK(std::abs(seen->expires_ms - wall_now().ms - 60000) < 5000);
  CHECK(store->renew(*first, Millis(90000)));
  CHECK(other->lease("storefront")->expires_ms > first->expires_ms + 20000);
  auto taken = other->acquire(wanted("b"), Millis(200), 0, true);
  REQUIRE(taken);
  CHECK(taken->epoch == 2);
  CHECK_FALSE(store->renew(*first, Millis(60000)));
  ::usleep(300000);
  auto third = store->acquire(wanted("c"), Millis(60000), 0, false);  // expired, by the database
  REQUIRE(third);
  CHECK(third->epoch == 3);
  store->release(*taken);  // no longer theirs: does nothing
  CHECK(store->lease("storefront")->holder == "c");
  store->release(*third);
  CHECK_FALSE(store->lease("storefront"));
  CHECK(store->acquire(wanted("d"), Millis(60000), 40, false)->epoch == 41);
}

TEST_CASE("postgres ledger: many writers keep one chain, and nobody's lines twice") {
  if (skipped()) return;
  auto url = fresh_url();
  open_postgres_ledger(url, Millis(5000));
  std::vector<std::future<void>> writers;
  for (int w = 0; w < 4; ++w)
    writers.push_back(std::async(std::launch::async, [&url, w] {
      auto store = open_postgres_ledger(url, Millis(20000));
      for (int i = 0; i < 25; ++i) store->append({stamp(w * 1000 + i)}, {});
    }));
  for (auto& w : writers) w.get();
  auto store = open_postgres_ledger(url, Millis(5000));
  auto all = store->read(0, 1000);
  CHECK(all.size() == 101);
  CHECK_FALSE(find_broken_link(all, Digest{}));
  std::set<std::int64_t> once;
  for (const auto& e : all) once.insert(get_int_or(e.body, "n", -1));
  CHECK(once.size() == 101);
}

TEST_CASE("postgres ledger: several that open it for the first time at once find one ledger") {
  if (skipped()) return;
  for (int round = 0; round < 4; ++round) {
    auto url = fresh_url();
    std::vector<std::future<std::string>> first;
    for (int i = 0; i < 4; ++i) first.push_back(std::async(std::launch::async, [&url] { return open_postgres_ledger(url, Millis(10000))->id(); }));
    std::set<std::string> ids;
    for (auto& f : first) ids.insert(f.get());
    CHECK(ids.size() == 1);
  }
}

TEST_CASE("postgres ledger: rows refuse changes, and what was changed all the same is found when it is opened") {
  if (skipped()) return;
  auto url = fresh_url();
  auto schema = fmt::format("s{}", shared().schemas);
  auto store = open_postgres_ledger(url, Millis(5000));
  for (int i = 0; i < 5; ++i) store->append({stamp(i)}, {});
  for (const char* change : {"UPDATE {}.ripcord_entries SET line = 'x'", "DELETE FROM {}.ripcord_entries WHERE seq = 5", "TRUNCATE {}.ripcord_entries"})
    CHECK(error_of([&] { shared().server.sql(fmt::format(fmt::runtime(change), schema)); }).message().find("the ledger is append-only") != std::string::npos);
  shared().server.sql(fmt::format("ALTER TABLE {0}.ripcord_entries DISABLE TRIGGER ALL; UPDATE {0}.ripcord_entries SET line = convert_to(replace(convert_from(line, "
                                  "'UTF8'), '\"n\":3', '\"n\":4'), 'UTF8') WHERE seq = 4", schema));
  auto error = error_of([&] { open_postgres_ledger(url, Millis(5000)); });
  CHECK(error.exit() == Exit::integrity);
  CHECK(error.message().find("is not what was written: entry 4 does not fit the chain") != std::string::npos);
}

TEST_CASE("postgres ledger: commits are synchronous whatever the role or the address says, and a server without fsync is named") {
  if (skipped()) return;
  auto url = fresh_url() + "%20-csynchronous_commit%3Doff";
  {
    PgConnection raw{PgAddress(url)};
    raw.open(boot_now() + Millis(5000));
    CHECK(raw.run({{"SHOW synchronous_commit"}}, boot_now() + Millis(5000)).at(0).at(0).at(0) == "off");
  }
  auto store = open_postgres_ledger(url, Millis(5000));
  store->append({stamp(1)}, {});
  auto off = shared().server.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ripcord'");
  CHECK(off != "0");
  configure("fsync", "off");
  auto there = open_postgres_ledger(url, Millis(5000));
  configure("fsync", "on");
  REQUIRE(there->warnings().size() == 1);
  CHECK(there->warnings()[0].find("runs with fsync=off") != std::string::npos);
}

TEST_CASE("postgres ledger: no password in any message") {
  if (skipped()) return;
  const std::string secret = "hunter2";
  CHECK(ledger_shown("postgresql://me:" + secret + "@db1,db2:5433/team?sslmode=require") == "postgresql://me@db1,db2:5433/team");
  CHECK(ledger_shown("postgres://db/x?user=me&password=" + secret) == "postgresql://me@db/x");
  std::vector<std::string> addresses{
      "postgresql://me:" + secret + "@127.0.0.1:1/x",                                                // nobody listens
      "postgresql://secretive:" + secret + "@" + shared().server.place() + "/postgres",              // wrong
      "postgresql://me:" + secret + "@" + shared().server.place() + "/nothere",                      // no such database
      "postgresql://me:" + secret + "%zz@db/x",                                                      // no address
      "postgresql://me:" + secret + "@db/x?nosuchoption=" + secret,
  };
  for (const auto& address : addresses) {
    auto error = error_of([&] { open_ledger(address, Millis(3000)); });
    INFO(error.what());
    CHECK(std::string(error.what()).find(secret) == std::string::npos);
    CHECK(error.hint().find(secret) == std::string::npos);
  }
  // and it is used: the right one opens
  auto store = open_ledger("postgresql://secretive:s3cr3t@" + shared().server.place() + "/postgres", Millis(5000));
  store->append({stamp(1)}, {});
}

TEST_CASE("postgres ledger: the first of several hosts may be dead, silent or a standby") {
  if (skipped()) return;
  TcpProxy silent(shared().server.port());
  silent.set({.mode = TcpProxy::Mode::black_hole});
  auto schema = fresh_url().substr(shared().server.url().size());
  auto begun = boot_now();
  auto store = open_postgres_ledger(fmt::format("postgresql://postgres@127.0.0.1:1,127.0.0.1:{},{}/postgres{}&connect_timeout=2", silent.port(),
                                                shared().server.place(), schema), Millis(15000));
  CHECK(store->append({stamp(1)}, {}).size() == 1);
  CHECK(boot_now() - begun < Millis(12000));
}

TEST_CASE("postgres ledger: a server that falls silent ends every call by its deadline") {
  if (skipped()) return;
  TcpProxy proxy(shared().server.port());
  auto schema = fresh_url().substr(shared().server.url().size());
  auto store = open_postgres_ledger(fmt::format("postgresql://postgres@127.0.0.1:{}/postgres{}", proxy.port(), schema), Millis(600));
  store->append({stamp(1)}, {});
  proxy.set({.mode = TcpProxy::Mode::black_hole});
  for (int call = 0; call < 4; ++call) {
    auto begun = boot_now();
    auto error = error_of([&] {
      if (call == 0) store->append({stamp(2)}, {});
      if (call == 1) store->read(0, 10);
      if (call == 2) store->lease("storefront");
      if (call == 3) store->acquire(wanted("a"), Millis(30000), 0, false);
    });
    INFO(error.what());
    CHECK(boot_now() - begun < Millis(3000));
    CHECK(error.message().find("cannot reach ledger 'postgresql://postgres@127.0.0.1:") == 0);
  }
  proxy.set({});
  CHECK(store->append({stamp(3)}, {}).size() == 1);
}

TEST_CASE("postgres ledger: a COMMIT without an answer is found again by its operation id, never done twice, never lost") {
  if (skipped()) return;
  TcpProxy proxy(shared().server.port());
  auto schema = fresh_url().substr(shared().server.url().size());
  auto address = fmt::format("postgresql://postgres@127.0.0.1:{}/postgres{}", proxy.port(), schema);
  open_postgres_ledger(address, Millis(5000));
  int before = 0, after = 0, n = 0;
  // The connection is cut after so many bytes of what the server says: within the answer to the lock, to the INSERTs, to the COMMIT.
  for (std::int64_t bytes = 0; bytes < 700; bytes += 70) {
    proxy.set({});
    auto store = open_postgres_ledger(address, Millis(10000));
    store->append({stamp(++n)}, {});
    auto had = open_postgres_ledger(shared().server.url() + schema, Millis(5000))->size();
    proxy.set({.mode = TcpProxy::Mode::cut, .at = bytes, .once = true});
    auto stored = store->append({stamp(++n)}, {});
    REQUIRE(stored.size() == 1);
    CHECK(stored[0].seq == had);
    (proxy.cuts() > 0 ? after : before)++;
    CHECK(store->size() == had + 1);
  }
  auto store = open_postgres_ledger(shared().server.url() + schema, Millis(5000));
  auto all = store->read(0, 1000);
  CHECK_FALSE(find_broken_link(all, Digest{}));
  CHECK(all.size() == static_cast<std::size_t>(n) + 1);
  CHECK(after > 5);
  CHECK(before > 0);
}

TEST_CASE("postgres ledger: a restart in the middle is waited for; a holder that fell silent does not block the others for ever") {
  if (skipped()) return;
  auto& server = shared().server;
  auto url = fresh_url();
  auto store = open_postgres_ledger(url, Millis(15000));
  store->append({stamp(1)}, {});
  server.kill();
  auto later = std::async(std::launch::async, [&] { return store->append({stamp(2)}, {}).size(); });
  ::usleep(500000);
  server.start();
  CHECK(later.get() == 1);
  CHECK(numbers(*store) == std::multiset<std::int64_t>{1, 2});
  // Somebody holds the head row and is gone without a word.
  PgConnection silent{PgAddress(url)};
  silent.open(boot_now() + Millis(5000));
  silent.run({{"SET idle_in_transaction_session_timeout = '1s'"}, {"BEGIN"}, {"SELECT * FROM ripcord_head FOR UPDATE"}}, boot_now() + Millis(5000));
  auto begun = boot_now();
  CHECK(store->append({stamp(3)}, {}).size() == 1);
  CHECK(boot_now() - begun < Millis(8000));
}

TEST_CASE("postgres ledger: fail-over to a standby goes on") {
  if (skipped()) return;
  auto& primary = shared().server;
  auto schema = fresh_url().substr(primary.url().size());
  PgServer standby(primary, PgServer::Standby{});
  auto store = open_postgres_ledger(fmt::format("postgresql://postgres@{},{}/postgres{}", primary.place(), standby.place(), schema), Millis(20000));
  auto lease = store->acquire(wanted("a"), Millis(60000), 0, false);
  store->append({stamp(1)}, {});
  standby.wait_caught_up_with(primary);
  primary.kill();
  standby.promote();
  CHECK(store->append({stamp(2)}, LedgerStore::Guard{"storefront", "a", lease->epoch}).size() == 1);
  CHECK(numbers(*store) == std::multiset<std::int64_t>{1, 2});
  primary.start();
}

TEST_CASE("postgres ledger: a process whose own entries are gone after a reconnect stops") {
  if (skipped()) return;
  auto url = fresh_url();
  auto schema = fmt::format("s{}", shared().schemas);
  auto store = open_postgres_ledger(url, Millis(5000));
  store->append({stamp(1)}, {});
  auto head = store->append({stamp(2)}, {})[0].leaf;
  store->append({stamp(3)}, {});
  // As on a server that took over before it had received entry 3.
  shared().server.sql(fmt::format("ALTER TABLE {0}.ripcord_entries DISABLE TRIGGER ALL; DELETE FROM {0}.ripcord_entries WHERE seq = 3; UPDATE {0}.ripcord_head SET size = 3, "
                                  "leaf = decode('{1}', 'hex')", schema, head.hex()));
  auto error = error_of([&] { store->append({stamp(4)}, {}); });
  CHECK(error.exit() == Exit::integrity);
  CHECK(error.message().find("has lost entries: entry 3 was in it before, and is not any more") != std::string::npos);
  CHECK(error.hint().find("ripcord reconcile") == 0);
  shared().server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ripcord'");
  CHECK(error_of([&] { store->read(0, 10); }).exit() == Exit::integrity);
}

TEST_CASE("postgres ledger: a synchronous standby that does not answer does not make an append durable") {
  if (skipped()) return;
  auto store = open_postgres_ledger(fresh_url(), Millis(1200));
  configure("synchronous_standby_names", "nobody");  // COMMIT waits for one that is not there
  auto begun = boot_now();
  auto error = error_of([&] { store->append({stamp(1)}, {}); });
  CHECK(boot_now() - begun < Millis(4000));
  INFO(error.what());
  CHECK(error.message().find("whether what was being written is there could not be learned") != std::string::npos);
  configure("synchronous_standby_names", "");
  store->append({stamp(2)}, {});
  CHECK(numbers(*store).count(1) <= 1);
  CHECK_FALSE(find_broken_link(store->read(0, 100), Digest{}));
}
