// The ledger in a file, and what files add to a store's promises: kills, full disks, damage, permissions, other processes.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "core/base/error.hpp"
#include "core/base/files.hpp"
#include "core/net/ledger_place.hpp"
#include "core/net/lock_holder.hpp"
#include "core/net/sqlite.hpp"
#include "tests/core/ledger_fixture.hpp"

using namespace ripcord;
using namespace ripcord::test;

TEST_CASE("the ledger is still there when it is opened again, and its folder is made private") {
  Folder folder;
  std::string path = folder.path() + "/deep/ledger.db";
  std::string id;
  {
    Bench bench(open_sqlite_ledger(path));
    id = bench.ledger.id();
    bench.append({body("a")});
  }
  struct stat st {};
  REQUIRE(::stat((folder.path() + "/deep").c_str(), &st) == 0);
  CHECK((st.st_mode & 0777) == 0700);
  REQUIRE(::stat(path.c_str(), &st) == 0);
  CHECK((st.st_mode & 0777) == 0600);
  auto again = open_sqlite_ledger(path);
  CHECK(again->id() == id.substr(0, 32));
  CHECK(again->size() == 2);
  require_chain(again->read(0, 100));
}

TEST_CASE("an older copy that is put back while the ledger is in use is noticed by the next append, written over or renamed over") {
  for (bool in_place : {true, false}) {
    Folder folder;
    Bench bench(open_sqlite_ledger(folder.db()));
    bench.append({body("a")});
    auto older = read_file(folder.db());
    bench.append({body("b"), body("c")});
    if (in_place) {
      Fd fd = open_file(folder.db(), O_WRONLY | O_TRUNC, 0600);
      write_all(fd.get(), older, folder.db());
    } else {
      write_file_durable(folder.db(), older, 0600);
    }
    auto error = error_of([&] { bench.append({body("d")}); });
    CHECK(error.exit() == Exit::integrity);
    CHECK(error.message() == (in_place ? "ledger '" + folder.db() + "' has lost entries: entry 3 was in it before, and is not any more; another server was "
                                                                    "promoted, or an older copy restored"
                                       : "cannot write ledger '" + folder.db() + "': the file was moved away or replaced while it was in use; nothing was written"));
    auto now = open_sqlite_ledger(folder.db());
    CHECK(now->size() == 2);
    Bench another(std::move(now));  // who comes new to it cannot know: the hosts do
    another.append({body("e")});
  }
}

TEST_CASE("an older copy that is written over the file is never mixed with what a process had in memory, whatever its change counter says") {
  Folder folder;
  auto put_back = [&](const std::string& older) {
    Fd fd = open_file(folder.db(), O_WRONLY | O_TRUNC, 0600);
    write_all(fd.get(), older, folder.db());
  };
  auto store = open_sqlite_ledger(folder.db());
  store->append({stamp(1)}, {});
  auto older = read_file(folder.db());
  store->append({stamp(2)}, {});
  put_back(older);
  // Another process changes the copy once, as this one changed the file: the counter in it is again what this one last saw.
  REQUIRE(open_sqlite_ledger(folder.db())->acquire(wanted("other"), Millis(30000), 0, false));
  CHECK(error_of([&] { store->append({stamp(3)}, {}); }).exit() == Exit::integrity);
  auto now = open_sqlite_ledger(folder.db());  // looks at head and chain
  CHECK(numbers(*now) == std::multiset<std::int64_t>{1});

  SECTION("a lease is neither taken nor renewed in it") {
    Lease held = wanted("other");
    held.epoch = 1;
    for (auto call : {std::function<void()>([&] { store->acquire(wanted("me"), Millis(30000), 0, true); }), std::function<void()>([&] { store->renew(held, Millis(30000)); })}) {
      auto error = error_of(call);
      CHECK(error.exit() == Exit::integrity);
      CHECK(error.message().find("has lost entries") != std::string::npos);
    }
  }
  SECTION("a file that was emptied is no ledger any more, and nobody makes one of it") {
    put_back("");
    for (auto call : {std::function<void()>([&] { store->append({stamp(3)}, {}); }), std::function<void()>([&] { store->read(0, 1); })}) {
      auto error = error_of(call);
      CHECK(error.exit() == Exit::integrity);
      CHECK(error.message() == "ledger '" + folder.db() + "' was emptied or replaced while it was in use; nothing was written");
    }
    CHECK(read_file(folder.db()).empty());
  }
}

TEST_CASE("a process that was stopped in the middle of a write is named, by number and state") {
  Folder folder;
  open_sqlite_ledger(folder.db());
  CHECK_FALSE(lock_holder(folder.db()));
  Child stopped([&] {
    SqliteDb db(folder.db());
    SqliteTransaction transaction(db, SqliteTransaction::Kind::write);
    ::raise(SIGSTOP);
    return std::string("went on");
  });
  int status = 0;
  REQUIRE(::waitpid(stopped.pid, &status, WUNTRACED) == stopped.pid);
  auto holder = lock_holder(folder.db());
  REQUIRE(holder);
  CHECK(holder->pid == stopped.pid);
  CHECK(holder->stopped);
  CHECK(holder->text == "process " + std::to_string(stopped.pid) + " (test_core, stopped)");
  ::kill(stopped.pid, SIGCONT);
  CHECK(stopped.finish() == "went on");
  CHECK_FALSE(lock_holder(folder.db()));
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
  ::chmod(folder.path().c_str(), 0755);
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
    return error_of([&] { open_sqlite_ledger(folder.path() + "/other.db"); }).message();
  });
  CHECK(said == "cannot create ledger '" + folder.path() + "/other.db': Permission denied (EACCES)");
}

TEST_CASE("a full disk refuses the append, keeps the chain, and goes on when there is room") {
  Folder folder;
  auto said = in_child([&]() -> std::string {
    // In a mount namespace of its own: nothing is left mounted whatever happens.
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("tmpfs", folder.path().c_str(), "tmpfs", 0, "size=256k") != 0)
      return "skipped";
    std::string filler = folder.path() + "/filler";
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
    ::mount("tmpfs", folder.path().c_str(), "tmpfs", MS_REMOUNT, "size=1m");
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
