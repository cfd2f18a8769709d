#include "core/net/ledger.hpp"

#include <fcntl.h>
#include <openssl/sha.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "core/base/error.hpp"
#include "core/base/files.hpp"
#include "core/net/ledger_place.hpp"
#include "core/net/sqlite.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;

namespace {

struct Folder {
  Folder() { REQUIRE(::mkdtemp(path.data()) != nullptr); }
  ~Folder() {
    std::error_code ignored;
    for (const auto& e : std::filesystem::directory_iterator(path, ignored)) std::filesystem::remove(e.path(), ignored);
    std::filesystem::remove(path, ignored);
  }
  std::string db() const { return path + "/ledger.db"; }
  std::string path = "/tmp/ripcord-ledger-XXXXXX";
};

json::object body(std::string type, std::int64_t n = 0) {
  json::object o;
  o["kind"] = std::move(type);
  o["n"] = n;
  return o;
}

LedgerStore::Stamp stamp(std::int64_t n) {
  return [n](std::int64_t seq, const Digest& prev) {
    json::object o;
    o["seq"] = seq;
    o["prev"] = prev.hex();
    o["n"] = n;
    return json::serialize(o);
  };
}

// SHA-256(0x00 || line) by OpenSSL's one-shot call: not the code under test.
std::string plain_leaf(const std::string& line) {
  std::string input = std::string(1, '\0') + line;
  unsigned char out[32];
  SHA256(reinterpret_cast<const unsigned char*>(input.data()), input.size(), out);
  std::string hex;
  for (unsigned char c : out) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", c);
    hex += digits;
  }
  return hex;
}

void require_chain(const std::vector<LedgerEntry>& entries) {
  std::string prev(64, '0');
  std::int64_t seq = 0;
  for (const auto& e : entries) {
    std::string start = "{\"seq\":" + std::to_string(seq) + ",\"prev\":\"" + prev + "\",";
    REQUIRE(e.line.substr(0, start.size()) == start);
    prev = plain_leaf(e.line);
    REQUIRE(e.leaf.hex() == prev);
    ++seq;
  }
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

struct Child {  // a process that runs f and hands back what it returned
  explicit Child(const std::function<std::string()>& f) {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      ::close(ends[0]);
      std::string said;
      try {
        said = f();
      } catch (const std::exception& e) {
        said = std::string("threw: ") + e.what();
      }
      if (::write(ends[1], said.data(), said.size()) < 0) ::_exit(2);
      ::_exit(0);
    }
    ::close(ends[1]);
    from.reset(ends[0]);
  }
  std::string finish() {  // "died" when it did not get to its end
    std::string said;
    char buffer[4096];
    for (ssize_t n; (n = ::read(from.get(), buffer, sizeof buffer)) > 0;) said.append(buffer, static_cast<std::size_t>(n));
    int status = 0;
    ::waitpid(pid, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? said : "died";
  }
  pid_t pid = -1;
  Fd from;
};

std::string in_child(const std::function<std::string()>& f) { return Child(f).finish(); }

struct CountingStore : LedgerStore {  // counts transactions
  explicit CountingStore(std::unique_ptr<LedgerStore> s) : inner(std::move(s)) {}
  std::unique_ptr<LedgerStore> inner;
  std::shared_ptr<int> commits = std::make_shared<int>(0);
  void append_all(std::vector<Batch>& b) override {
    ++*commits;
    inner->append_all(b);
  }
  std::vector<LedgerEntry> read(std::int64_t from, std::size_t limit) override { return inner->read(from, limit); }
  std::int64_t size() override { return inner->size(); }
  std::string id() override { return inner->id(); }
  std::int64_t change_counter() override { return inner->change_counter(); }
  std::optional<Lease> lease(const std::string& s) override { return inner->lease(s); }
  std::optional<Lease> acquire(Lease w, Millis t, std::int64_t a, bool o) override { return inner->acquire(w, t, a, o); }
  bool renew(const Lease& h, Millis t) override { return inner->renew(h, t); }
  void release(const Lease& h) override { inner->release(h); }
};

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

struct Bench {  // a loop, a clock and a ledger
  explicit Bench(std::unique_ptr<LedgerStore> store) : ledger(loop, clock, std::move(store), "alice", "desk") {}
  Loop loop;
  ManualClock clock{WallTime{1795176000123}};
  Ledger ledger;

  std::vector<LedgerEntry> append(std::vector<json::object> bodies, std::optional<LedgerStore::Guard> guard = {}) {
    std::vector<LedgerEntry> out;
    run_to_end(loop, keep(std::move(bodies), std::move(guard), &out));
    return out;
  }
  Task<> keep(std::vector<json::object> bodies, std::optional<LedgerStore::Guard> guard, std::vector<LedgerEntry>* out) {
    *out = co_await ledger.append(std::move(bodies), std::move(guard));
  }
  Task<> note_error(std::vector<json::object> bodies, std::optional<LedgerStore::Guard> guard, std::string* message, Exit* exit) {
    try {
      co_await ledger.append(std::move(bodies), std::move(guard));
    } catch (const Error& e) {
      *message = e.what();
      *exit = e.exit();
    }
  }
};

}  // namespace

TEST_CASE("a new ledger starts with its own origin, and lines are what the format says") {
  Folder folder;
  Bench bench(open_sqlite_ledger(folder.db()));
  std::vector<json::object> two{body("a", 1), body("b", 2)};
  auto stored = bench.append(two);
  REQUIRE(stored.size() == 2);
  CHECK(stored[0].seq == 1);
  CHECK(stored[0].line == "{\"seq\":1,\"prev\":\"" + bench.ledger.read(0, 1)[0].leaf.hex() +
                              "\",\"time\":\"2026-11-20T12:00:00.123Z\",\"who\":\"alice\",\"machine\":\"desk\",\"kind\":\"a\",\"n\":1}");
  auto all = bench.ledger.read(0);
  REQUIRE(all.size() == 3);
  CHECK(get_string(all[0].body, "id") + "@" + get_string(all[0].body, "machine") == bench.ledger.id());
  CHECK(bench.ledger.id().find('@') == 32);
  CHECK(get_int(all[0].body, "format") == 1);
  CHECK(get_string(all[0].body, "kind") == "ledger.created");
  require_chain(all);
  CHECK(bench.ledger.read(2, 10).size() == 1);
  struct stat st {};
  REQUIRE(::stat(folder.db().c_str(), &st) == 0);
  CHECK((st.st_mode & 0777) == 0600);
}

TEST_CASE("the ledger is still there when it is opened again, and its folder is made private") {
  Folder folder;
  std::string path = folder.path + "/deep/ledger.db";
  std::string id;
  {
    Bench bench(open_sqlite_ledger(path));
    id = bench.ledger.id();
    bench.append({body("a")});
  }
  struct stat st {};
  REQUIRE(::stat((folder.path + "/deep").c_str(), &st) == 0);
  CHECK((st.st_mode & 0777) == 0700);
  auto again = open_sqlite_ledger(path);
  CHECK(again->id() == id.substr(0, 32));
  CHECK(again->size() == 2);
  require_chain(again->read(0, 100));
  again.reset();
  ::unlink(path.c_str());
  ::rmdir((folder.path + "/deep").c_str());
}

TEST_CASE("an entry may not bring the ledger's own members") {
  Folder folder;
  Bench bench(open_sqlite_ledger(folder.db()));
  auto b = body("a");
  b["prev"] = "00";
  CHECK(error_of([&] { bench.append({b}); }).message() == "a ledger entry may not bring its own member 'prev'");
  auto broken = body("a");
  broken["text"] = "\xff";
  CHECK(error_of([&] { bench.append({broken}); }).message().find("the new ledger entry is not valid JSON") == 0);
  CHECK(bench.ledger.store().size() == 1);
}

TEST_CASE("a thousand concurrent appends share a few commits") {
  Folder folder;
  auto store = std::make_unique<CountingStore>(open_sqlite_ledger(folder.db()));
  auto commits = store->commits;
  Bench bench(std::move(store));
  std::vector<std::vector<LedgerEntry>> stored(1000);
  TaskGroup group(bench.loop);
  for (int i = 0; i < 1000; ++i) group.spawn(bench.keep({body("x", i)}, {}, &stored[static_cast<std::size_t>(i)]));
  run_to_end(bench.loop, group.join());
  CHECK(*commits >= 1);
  CHECK(*commits <= 50);
  auto all = bench.ledger.read(0);
  REQUIRE(all.size() == 1001);
  require_chain(all);
  for (std::size_t i = 0; i < 1000; ++i) {
    REQUIRE(stored[i].size() == 1);
    REQUIRE(get_int(all[static_cast<std::size_t>(stored[i][0].seq)].body, "n") == static_cast<std::int64_t>(i));
  }
}

TEST_CASE("a refused guard fails its own caller, not the batch") {
  Folder folder;
  Bench bench(open_sqlite_ledger(folder.db()));
  auto lease = bench.ledger.store().acquire(wanted("me"), Millis(30000), 6, false);
  REQUIRE(lease);
  REQUIRE(lease->epoch == 7);
  LedgerStore::Guard good{"storefront", "me", 7}, old{"storefront", "me", 6}, nobody{"search", "me", 1};
  std::string messages[5];
  Exit exits[5] = {Exit::done, Exit::done, Exit::done, Exit::done, Exit::done};
  auto poison = body("poison");
  poison["text"] = "\xff";
  TaskGroup group(bench.loop);
  group.spawn(bench.note_error({body("one")}, good, &messages[0], &exits[0]));
  group.spawn(bench.note_error({body("two"), body("two")}, old, &messages[1], &exits[1]));
  group.spawn(bench.note_error({body("three")}, nobody, &messages[2], &exits[2]));
  group.spawn(bench.note_error({body("four"), poison}, {}, &messages[3], &exits[3]));
  group.spawn(bench.note_error({body("five")}, {}, &messages[4], &exits[4]));
  run_to_end(bench.loop, group.join());
  CHECK(messages[0].empty());
  CHECK(messages[1] ==
        "the lease of 'storefront' (epoch 6) is no longer ours: alice on desk holds it with epoch 7 for rollout 'r1'; nothing was written");
  CHECK(exits[1] == Exit::held);
  CHECK(messages[2] == "the lease of 'search' (epoch 1) is no longer ours: nobody holds it; nothing was written");
  CHECK(messages[3].find("not valid JSON") != std::string::npos);
  CHECK(messages[4].empty());
  auto all = bench.ledger.read(1);
  REQUIRE(all.size() == 2);
  CHECK(get_string(all[0].body, "kind") == "one");
  CHECK(get_string(all[1].body, "kind") == "five");
  require_chain(bench.ledger.read(0));
}

TEST_CASE("two processes appending keep one chain, and each notices the other") {
  Folder folder;
  open_sqlite_ledger(folder.db());
  auto write = [&]() -> std::string {
    Bench bench(open_sqlite_ledger(folder.db()));
    bool noticed = false;
    int written = 0;
    // At least a hundred, and until the other was seen writing too.
    for (; written < 100 || (!noticed && written < 5000); ++written) {
      bench.append({body("p", ::getpid())});
      noticed = bench.ledger.changed_elsewhere() || noticed;
      ::usleep(500);
    }
    return noticed ? std::to_string(written) : "alone";
  };
  Child one(write), two(write);
  std::string said_one = one.finish(), said_two = two.finish();
  REQUIRE(std::atoi(said_one.c_str()) >= 100);  // not "alone", not "died"
  REQUIRE(std::atoi(said_two.c_str()) >= 100);
  auto store = open_sqlite_ledger(folder.db());
  auto all = store->read(0, 100000);
  CHECK(all.size() == static_cast<std::size_t>(1 + std::atoi(said_one.c_str()) + std::atoi(said_two.c_str())));
  require_chain(all);
}

TEST_CASE("changed_elsewhere tells others' entries from our own") {
  Folder folder;
  Bench bench(open_sqlite_ledger(folder.db()));
  CHECK_FALSE(bench.ledger.changed_elsewhere());
  bench.append({body("mine")});
  CHECK_FALSE(bench.ledger.changed_elsewhere());
  auto other = open_sqlite_ledger(folder.db());
  CHECK_FALSE(bench.ledger.changed_elsewhere());
  other->acquire(wanted("other"), Millis(1000), 0, false);
  CHECK_FALSE(bench.ledger.changed_elsewhere());
  other->append({stamp(1)}, {});
  CHECK(bench.ledger.changed_elsewhere());
  CHECK_FALSE(bench.ledger.changed_elsewhere());
  other->append({stamp(2)}, {});
  bench.append({body("mine")});
  CHECK(bench.ledger.changed_elsewhere());
  CHECK_FALSE(bench.ledger.changed_elsewhere());
}

// The child says on a pipe which calls were acknowledged; each call appends three entries.
TEST_CASE("kill -9 at any moment loses nothing that was acknowledged and leaves no part of an append") {
  Folder folder;
  open_sqlite_ledger(folder.db());
  std::int64_t before = 1;
  int killed_in_flight = 0, killed_with_acknowledged = 0;
  unsigned random = 12345;
  for (int round = 0; round < 60; ++round) {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    pid_t pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      ::close(ends[0]);
      Bench bench(open_sqlite_ledger(folder.db()));
      for (std::int64_t call = 0;; ++call) {
        auto stored = bench.append({body("k", call), body("k", call), body("k", call)});
        std::int64_t last = stored.back().seq;
        if (::write(ends[1], &last, sizeof last) != sizeof last) ::_exit(1);
      }
    }
    ::close(ends[1]);
    std::int64_t acknowledged = before - 1, said = 0;
    random = random * 1103515245 + 12345;
    // The moment counts from the first acknowledged append in most rounds, from the fork in some: starting up is killed too.
    if (round % 4 != 0) {
      REQUIRE(::read(ends[0], &said, sizeof said) == sizeof said);
      acknowledged = said;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(random / 65536 % 40000));
    ::kill(pid, SIGKILL);
    int status = 0;
    ::waitpid(pid, &status, 0);
    while (::read(ends[0], &said, sizeof said) == sizeof said) acknowledged = said;
    ::close(ends[0]);
    REQUIRE(WIFSIGNALED(status));

    auto store = open_sqlite_ledger(folder.db());  // rolls a hot journal back, verifies the head
    std::int64_t after = store->size();
    CHECK(after > acknowledged);
    CHECK((after - 1) % 3 == 0);
    CHECK(after - 1 - acknowledged <= 3);  // at most the one call that was in flight
    if (after - 1 > acknowledged) ++killed_in_flight;
    if (acknowledged >= before) ++killed_with_acknowledged;
    before = after;
  }
  CHECK(killed_with_acknowledged > 20);
  INFO("killed between commit and acknowledgement: " << killed_in_flight);
  auto store = open_sqlite_ledger(folder.db());
  auto all = store->read(0, 1000000);
  CHECK(static_cast<std::int64_t>(all.size()) == before);
  require_chain(all);
}

TEST_CASE("a lease is taken, refused, renewed, taken over, released; its epoch only grows") {
  Folder folder;
  auto store = open_sqlite_ledger(folder.db());
  CHECK_FALSE(store->lease("storefront"));
  auto first = store->acquire(wanted("a"), Millis(60000), 0, false);
  REQUIRE(first);
  CHECK(first->epoch == 1);
  CHECK(first->expires_ms - first->acquired_ms == 60000);
  CHECK_FALSE(store->acquire(wanted("b"), Millis(60000), 0, false));
  auto seen = open_sqlite_ledger(folder.db())->lease("storefront");
  REQUIRE(seen);
  CHECK(seen->holder == "a");
  CHECK(seen->who == "alice");
  CHECK(seen->machine == "desk");
  CHECK(seen->rollout == "r1");
  CHECK(seen->why == "test");
  CHECK(store->renew(*first, Millis(90000)));
  CHECK(store->lease("storefront")->expires_ms > first->expires_ms);

  auto taken = store->acquire(wanted("b"), Millis(60000), 0, true);
  REQUIRE(taken);
  CHECK(taken->epoch == 2);
  CHECK_FALSE(store->renew(*first, Millis(60000)));
  store->release(*first);  // no longer ours: does nothing
  CHECK(store->lease("storefront")->holder == "b");
  store->release(*taken);
  CHECK_FALSE(store->lease("storefront"));
  CHECK_FALSE(store->renew(*taken, Millis(60000)));

  auto third = open_sqlite_ledger(folder.db())->acquire(wanted("c"), Millis(60000), 0, false);
  CHECK(third->epoch == 3);
  CHECK(store->acquire(wanted("c"), Millis(60000), 40, false)->epoch == 41);  // hosts had seen 40
  auto other = wanted("d");
  other.scope = "search";
  CHECK(store->acquire(other, Millis(1), 0, false)->epoch == 1);
}

TEST_CASE("an expired lease can be taken, and renewed only while nobody took it") {
  Folder folder;
  auto store = open_sqlite_ledger(folder.db());
  auto lease = store->acquire(wanted("a"), Millis(1), 0, false);
  std::this_thread::sleep_for(Millis(10));
  CHECK(store->renew(*lease, Millis(1)));
  std::this_thread::sleep_for(Millis(10));
  auto next = store->acquire(wanted("b"), Millis(60000), 0, false);
  REQUIRE(next);
  CHECK(next->epoch == 2);
  CHECK_FALSE(store->renew(*lease, Millis(60000)));
}

namespace {

// Fills a ledger and then changes the file behind its back.
void tamper(const std::string& path, int entries, const char* sql) {
  auto store = open_sqlite_ledger(path);
  for (int i = 0; i < entries; ++i) store->append({stamp(i)}, {});
  store.reset();
  SqliteDb db(path);
  db.exec("DROP TRIGGER entries_stay; DROP TRIGGER entries_remain;");
  db.exec(sql);
}

}  // namespace

TEST_CASE("the file refuses changes of entries unless its triggers are dropped") {
  Folder folder;
  open_sqlite_ledger(folder.db());
  SqliteDb db(folder.db());
  CHECK(error_of([&] { db.exec("UPDATE entries SET line = x'7b7d'"); }).message() ==
        "cannot use ledger '" + folder.db() + "': the ledger is append-only");
  CHECK(error_of([&] { db.exec("DELETE FROM entries"); }).message().find("append-only") != std::string::npos);
}

TEST_CASE("a tampered ledger is refused on open") {
  Folder folder;
  auto why = GENERATE(
      as<std::pair<const char*, const char*>>{},
      std::pair("UPDATE entries SET line = replace(line, '\"n\":3', '\"n\":4') WHERE seq = 4",
                "entry 4 does not fit the chain: it or the one before it was changed after it was written"),
      std::pair("DELETE FROM entries WHERE seq = 3", "its head says that it has 7 entries"),
      std::pair("DELETE FROM entries WHERE seq = 6", "its head says that it has 7 entries"),
      std::pair("DELETE FROM entries WHERE seq > 3; UPDATE head SET size = 4", "its head says that it has 4 entries"),
      std::pair("UPDATE head SET leaf = zeroblob(32)", "its head says that it has 7 entries and ends in 000000000000, and that is not so"),
      std::pair("UPDATE entries SET leaf = x'00' WHERE seq = 2", "the hash of entry 2 is not 32 bytes"),
      std::pair("UPDATE entries SET line = x'ff' WHERE seq = 2", "entry 2 is not valid JSON"),
      std::pair("DELETE FROM head", "its head row is missing"));
  tamper(folder.db(), 6, why.second ? why.first : "");
  auto error = error_of([&] { open_sqlite_ledger(folder.db()); });
  CHECK(error.message().find("ledger '" + folder.db() + "' is not what was written: ") == 0);
  CHECK_THAT(error.message(), Catch::Matchers::Contains(why.second));
  CHECK(error.exit() == Exit::integrity);
  CHECK(error.hint().find("keep the file as evidence") == 0);
}

TEST_CASE("opening looks at the last hundred entries; find_broken_link at all of them") {
  Folder folder;
  tamper(folder.db(), 150, "UPDATE entries SET line = replace(line, '\"n\":19', '\"n\":18') WHERE seq = 20");
  auto store = open_sqlite_ledger(folder.db());
  auto all = store->read(0, 1000);
  REQUIRE(all.size() == 151);
  CHECK(find_broken_link(all, Digest{}) == 20);
  all.erase(all.begin(), all.begin() + 21);
  auto prev = store->read(20, 1)[0].leaf;
  CHECK_FALSE(find_broken_link(all, prev));
  CHECK(find_broken_link(all, Digest{}) == 21);
}

TEST_CASE("find_broken_link finds flips, rewrites, gaps, swaps and insertions") {
  Folder folder;
  auto store = open_sqlite_ledger(folder.db());
  for (int i = 0; i < 8; ++i) store->append({stamp(i)}, {});
  auto good = store->read(0, 100);
  CHECK_FALSE(find_broken_link(good, Digest{}));
  CHECK_FALSE(find_broken_link({}, Digest{}));
  auto bad = good;
  bad[5].line[bad[5].line.size() - 2] ^= 1;
  CHECK(find_broken_link(bad, Digest{}) == 5);
  bad[5].leaf = leaf_hash(bad[5].line);  // rewritten with its hash: the next line tells
  CHECK(find_broken_link(bad, Digest{}) == 6);
  bad = good;
  bad.erase(bad.begin() + 3);
  CHECK(find_broken_link(bad, Digest{}) == 3);
  bad = good;
  std::swap(bad[2], bad[3]);
  CHECK(find_broken_link(bad, Digest{}) == 2);
  bad = good;
  bad.insert(bad.begin() + 4, bad[3]);
  CHECK(find_broken_link(bad, Digest{}) == 4);
}

TEST_CASE("files that are no ledger, or one of the future, are refused by name") {
  Folder folder;
  std::ofstream(folder.db()) << std::string(5000, 'x');
  auto error = error_of([&] { open_sqlite_ledger(folder.db()); });
  CHECK(error.message() == "cannot open ledger '" + folder.db() + "': the file is not an SQLite database");
  CHECK(error.exit() == Exit::integrity);
  ::unlink(folder.db().c_str());
  {
    SqliteDb db(folder.db());
    db.exec("CREATE TABLE addresses (name TEXT)");
  }
  CHECK(error_of([&] { open_sqlite_ledger(folder.db()); }).message() == "'" + folder.db() + "' is an SQLite database, but not a ledger");
  ::unlink(folder.db().c_str());
  open_sqlite_ledger(folder.db());
  SqliteDb(folder.db()).exec("UPDATE meta SET value = '2' WHERE key = 'format'");
  error = error_of([&] { open_sqlite_ledger(folder.db()); });
  CHECK(error.message() == "ledger '" + folder.db() + "' has format '2', this ripcord knows format 1");
  CHECK(error.exit() == Exit::integrity);
}

TEST_CASE("a damaged page is integrity, not a crash") {
  Folder folder;
  auto store = open_sqlite_ledger(folder.db());
  for (int i = 0; i < 200; ++i) store->append({stamp(i)}, {});
  store.reset();
  {
    Fd fd = open_file(folder.db(), O_RDWR);
    std::string junk(4096 * 3, '\x5a');
    REQUIRE(::pwrite(fd.get(), junk.data(), junk.size(), 4096 * 2) == static_cast<ssize_t>(junk.size()));
  }
  CHECK(error_of([&] { open_sqlite_ledger(folder.db())->read(0, 1000); }).exit() == Exit::integrity);
}

TEST_CASE("a ledger that may only be read is read, and an append says so") {
  if (::geteuid() != 0) {
    WARN("skipped: needs root to become somebody else");
    return;
  }
  Folder folder;
  auto store = open_sqlite_ledger(folder.db());
  store->append({stamp(1)}, {});
  store.reset();
  ::chmod(folder.path.c_str(), 0755);
  ::chmod(folder.db().c_str(), 0644);
  auto said = in_child([&]() -> std::string {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) return "cannot become nobody";
    Bench bench(open_sqlite_ledger(folder.db()));
    if (bench.ledger.read(0).size() != 2) return "cannot read";
    return error_of([&] { bench.append({body("a")}); }).message();
  });
  CHECK(said == "cannot write ledger '" + folder.db() + "': it may only be read; nothing was written");
  said = in_child([&]() -> std::string {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) return "cannot become nobody";
    return error_of([&] { open_sqlite_ledger(folder.path + "/other.db"); }).message();
  });
  CHECK(said == "cannot create ledger '" + folder.path + "/other.db': Permission denied (EACCES)");
}

TEST_CASE("a full disk refuses the append, keeps the chain, and goes on when there is room") {
  Folder folder;
  auto said = in_child([&]() -> std::string {
    // In a mount namespace of its own: nothing is left mounted whatever happens.
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("tmpfs", folder.path.c_str(), "tmpfs", 0, "size=256k") != 0)
      return "skipped";
    std::string filler = folder.path + "/filler";
    Bench bench(open_sqlite_ledger(folder.db()));
    auto big = body("big");
    big["text"] = std::string(20000, 'x');
    std::string message, hint;
    std::int64_t written = 0;
    for (int i = 0; i < 100 && message.empty(); ++i) {
      try {
        written += static_cast<std::int64_t>(bench.append({big}).size());
      } catch (const Error& e) {
        message = e.message();
        hint = e.hint();
      }
    }
    if (bench.ledger.read(0).size() != static_cast<std::size_t>(written) + 1) return "an entry was lost or invented";
    ::mount("tmpfs", folder.path.c_str(), "tmpfs", MS_REMOUNT, "size=1m");
    bench.append({big});
    auto all = open_sqlite_ledger(folder.db())->read(0, 1000);
    if (all.size() != static_cast<std::size_t>(written) + 2 || find_broken_link(all, Digest{})) return "the chain broke";
    return message + " | " + hint;
  });
  if (said == "skipped") {
    WARN("skipped: needs root and mount namespaces");
    return;
  }
  CHECK(said == "cannot write ledger '" + folder.db() + "': the disk is full; nothing was written | free space on the file system of '" +
                    folder.db() + "', then run the command again");
}

TEST_CASE("network file systems are known by type") {
  CHECK(network_file_system(0x6969, "") == "NFS");
  CHECK(network_file_system(0xFF534D42, "") == "CIFS");
  CHECK(network_file_system(0x65735546, "fuse.sshfs") == "sshfs");
  CHECK_FALSE(network_file_system(0x65735546, "fuse.fuse-overlayfs"));
  CHECK_FALSE(network_file_system(0x65735546, "fuseblk"));
  CHECK_FALSE(network_file_system(0xEF53, "ext4"));
}

TEST_CASE("the script beside the docs verifies a ledger, and finds a changed line") {
  auto verify = [](const std::string& db, std::string* output) {
    *output = in_child([&db]() -> std::string {
      int ends[2];
      if (::pipe(ends) != 0) return "no pipe";
      pid_t pid = ::fork();
      if (pid == 0) {
        ::dup2(ends[1], 1);
        ::execlp("python3", "python3", RIPCORD_SOURCE_DIR "/examples/verify-ledger", db.c_str(), nullptr);
        ::_exit(127);
      }
      ::close(ends[1]);
      std::string said;
      char buffer[4096];
      for (ssize_t n; (n = ::read(ends[0], buffer, sizeof buffer)) > 0;) said.append(buffer, static_cast<std::size_t>(n));
      int status = 0;
      ::waitpid(pid, &status, 0);
      return std::to_string(WIFEXITED(status) ? WEXITSTATUS(status) : -1) + " " + said;
    });
  };
  Folder folder;
  auto store = open_sqlite_ledger(folder.db());
  for (int i = 0; i < 5; ++i) store->append({stamp(i)}, {});
  store.reset();
  std::string said;
  verify(folder.db(), &said);
  if (said.substr(0, 4) == "127 ") {
    WARN("skipped: needs python3");
    return;
  }
  CHECK(said.find("0 6 entries, every line follows from the one before\n") == 0);
  {
    SqliteDb db(folder.db());
    db.exec("DROP TRIGGER entries_stay; UPDATE entries SET line = replace(line, '\"n\":2', '\"n\":7') WHERE seq = 3");
  }
  verify(folder.db(), &said);
  CHECK(said == "9 entry 3: the line does not have the hash that was stored for it\n");
}
