// The ledger in PostgreSQL, against real servers: what a database adds to a store's promises: fail-over, a COMMIT whose answer does not
// come, standbys that lack entries, passwords (promises 3, 8, 15, 16).
#include <fmt/format.h>
#include <unistd.h>

#include <future>
#include <set>

#include "core/net/ledger_address.hpp"
#include "core/net/postgres.hpp"
#include "tests/core/ledger_fixture.hpp"
#include "tests/support/tcp_proxy.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

void configure(const std::string& setting, const std::string& value) {
  shared_pg().sql("ALTER SYSTEM SET " + setting + " = '" + value + "'");
  shared_pg().sql("SELECT pg_reload_conf()");
  ::usleep(200000);
}

}  // namespace

TEST_CASE("postgres ledger: rows refuse changes, and what was changed all the same is found when it is opened") {
  if (no_postgres()) return;
  const PgSchema made;
  const auto &url = made.url, &schema = made.name;
  auto store = open_postgres_ledger(url, Millis(5000));
  for (int i = 0; i < 5; ++i) store->append({stamp(i)}, {});
  for (const char* change : {"UPDATE {}.ripcord_entries SET line = 'x'", "DELETE FROM {}.ripcord_entries WHERE seq = 5", "TRUNCATE {}.ripcord_entries"})
    CHECK(error_of([&] { shared_pg().sql(fmt::format(fmt::runtime(change), schema)); }).message().find("the ledger is append-only") != std::string::npos);
  shared_pg().sql(fmt::format("ALTER TABLE {0}.ripcord_entries DISABLE TRIGGER ALL; UPDATE {0}.ripcord_entries SET line = convert_to(replace(convert_from(line, "
                                  "'UTF8'), '\"n\":3', '\"n\":4'), 'UTF8') WHERE seq = 4", schema));
  auto error = error_of([&] { open_postgres_ledger(url, Millis(5000)); });
  CHECK(error.exit() == Exit::integrity);
  CHECK(error.message().find("is not what was written: entry 4 does not fit the chain") != std::string::npos);
}

TEST_CASE("postgres ledger: commits are synchronous whatever the role or the address says, and a server without fsync is named") {
  if (no_postgres()) return;
  auto url = PgSchema().url + "%20-csynchronous_commit%3Doff";
  {
    PgConnection raw{PgAddress(url)};
    raw.open(boot_now() + Millis(5000));
    CHECK(raw.run({{"SHOW synchronous_commit"}}, boot_now() + Millis(5000)).at(0).at(0).at(0) == "off");
  }
  auto store = open_postgres_ledger(url, Millis(5000));
  store->append({stamp(1)}, {});
  auto off = shared_pg().sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ripcord'");
  CHECK(off != "0");
  configure("fsync", "off");
  auto there = open_postgres_ledger(url, Millis(5000));
  configure("fsync", "on");
  REQUIRE(there->warnings().size() == 1);
  CHECK(there->warnings()[0].find("runs with fsync=off") != std::string::npos);
}

TEST_CASE("postgres ledger: no password in any message") {
  if (no_postgres()) return;
  const std::string secret = "hunter2";
  CHECK(ledger_shown("postgresql://me:" + secret + "@db1,db2:5433/team?sslmode=require") == "postgresql://me@db1,db2:5433/team");
  CHECK(ledger_shown("postgres://db/x?user=me&password=" + secret) == "postgresql://me@db/x");
  std::vector<std::string> addresses{
      "postgresql://me:" + secret + "@127.0.0.1:1/x",                                                // nobody listens
      "postgresql://secretive:" + secret + "@" + shared_pg().place() + "/postgres",              // wrong
      "postgresql://me:" + secret + "@" + shared_pg().place() + "/nothere",                      // no such database
      "postgresql://me:" + secret + "@" + shared_pg().place() + "/" + secret,                    // pasted twice: the server says its name
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
  auto store = open_ledger("postgresql://secretive:s3cr3t@" + shared_pg().place() + "/postgres", Millis(5000));
  store->append({stamp(1)}, {});
}

TEST_CASE("postgres ledger: the first of several hosts may be dead, silent or a standby") {
  if (no_postgres()) return;
  TcpProxy silent(shared_pg().port());
  silent.set({.mode = TcpProxy::Mode::black_hole});
  auto schema = PgSchema().options();
  auto begun = boot_now();
  auto store = open_postgres_ledger(fmt::format("postgresql://postgres@127.0.0.1:1,127.0.0.1:{},{}/postgres{}&connect_timeout=2", silent.port(),
                                                shared_pg().place(), schema), Millis(15000));
  CHECK(store->append({stamp(1)}, {}).size() == 1);
  CHECK(boot_now() - begun < Millis(12000));
}

TEST_CASE("postgres ledger: a server that falls silent ends every call by its deadline") {
  if (no_postgres()) return;
  TcpProxy proxy(shared_pg().port());
  auto schema = PgSchema().options();
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
  if (no_postgres()) return;
  TcpProxy proxy(shared_pg().port());
  auto schema = PgSchema().options();
  auto address = fmt::format("postgresql://postgres@127.0.0.1:{}/postgres{}", proxy.port(), schema);
  open_postgres_ledger(address, Millis(5000));
  int before = 0, after = 0, n = 0;
  // The connection is cut after so many bytes of what the server says: within the answer to the lock, to the INSERTs, to the COMMIT.
  for (std::int64_t bytes = 0; bytes < 700; bytes += 70) {
    proxy.set({});
    auto store = open_postgres_ledger(address, Millis(10000));
    store->append({stamp(++n)}, {});
    auto had = open_postgres_ledger(shared_pg().url() + schema, Millis(5000))->size();
    proxy.set({.mode = TcpProxy::Mode::cut, .at = bytes, .once = true});
    auto stored = store->append({stamp(++n)}, {});
    REQUIRE(stored.size() == 1);
    CHECK(stored[0].seq == had);
    (proxy.cuts() > 0 ? after : before)++;
    CHECK(store->size() == had + 1);
  }
  auto store = open_postgres_ledger(shared_pg().url() + schema, Millis(5000));
  auto all = store->read(0, 1000);
  CHECK_FALSE(find_broken_link(all, Digest{}));
  CHECK(all.size() == static_cast<std::size_t>(n) + 1);
  CHECK(after > 5);
  CHECK(before > 0);
}

TEST_CASE("postgres ledger: a restart in the middle is waited for; a holder that fell silent does not block the others for ever") {
  if (no_postgres()) return;
  auto& server = shared_pg();
  auto url = PgSchema().url;
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
  if (no_postgres()) return;
  auto& primary = shared_pg();
  auto schema = PgSchema().options();
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
  if (no_postgres()) return;
  const PgSchema made;
  const auto &url = made.url, &schema = made.name;
  auto store = open_postgres_ledger(url, Millis(5000));
  store->append({stamp(1)}, {});
  auto head = store->append({stamp(2)}, {})[0].leaf;
  store->append({stamp(3)}, {});
  // As on a server that took over before it had received entry 3.
  shared_pg().sql(fmt::format("ALTER TABLE {0}.ripcord_entries DISABLE TRIGGER ALL; DELETE FROM {0}.ripcord_entries WHERE seq = 3; UPDATE {0}.ripcord_head SET size = 3, "
                                  "leaf = decode('{1}', 'hex')", schema, head.hex()));
  auto error = error_of([&] { store->append({stamp(4)}, {}); });
  CHECK(error.exit() == Exit::integrity);
  CHECK(error.message().find("has lost entries: entry 3 was in it before, and is not any more") != std::string::npos);
  CHECK(error.hint().find("ripcord reconcile") == 0);
  shared_pg().sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ripcord'");
  CHECK(error_of([&] { store->read(0, 10); }).exit() == Exit::integrity);
}

TEST_CASE("postgres ledger: a synchronous standby that does not answer does not make an append durable") {
  if (no_postgres()) return;
  auto store = open_postgres_ledger(PgSchema().url, Millis(1200));
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
