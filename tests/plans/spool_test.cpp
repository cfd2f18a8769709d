// The spool of a rip cord that could not reach its ledger: every entry comes into the ledger once, whoever merges it, and none is lost
// that is written meanwhile (promise 3).
#include "plans/ledger/spool.hpp"

#include <fmt/format.h>

#include <barrier>
#include <map>
#include <thread>

#include "core/base/files.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

std::string entry(const std::string& op, int n) {
  return json::serialize(json::object{{"kind", "rollback.host"}, {"unit", "web"}, {"rollback", op}, {"n", n}}) + "\n";
}

std::string entries(const std::string& op, int from, int to) {
  std::string text;
  for (int n = from; n <= to; ++n) text += entry(op, n);
  return text;
}

Task<> merge(Ledger& ledger, std::string folder, std::size_t& merged) { merged = co_await merge_spool(ledger, std::move(folder)); }

Task<> merge_and_write(Ledger& ledger, std::string folder, EntrySink& sink, Loop& loop) {
  std::size_t merged = 0;
  TaskGroup group(loop);
  group.spawn(merge(ledger, folder, merged));  // it waits for its commit now
  json::object body{{"kind", "rollback.ended"}};
  co_await sink.append(std::move(body));
  co_await group.join();
}

std::map<std::string, int> in_ledger(const std::string& path) {
  std::map<std::string, int> found;
  for (const auto& e : open_sqlite_ledger(path)->read(0, 100000))
    if (e.body.contains("rollback")) ++found[get_string(e.body, "rollback") + " " + std::to_string(get_int(e.body, "n"))];
  return found;
}

}  // namespace

TEST_CASE("two that merge the same spool at once: every entry is in the ledger once", "[spool]") {
  TempDir dir;
  const auto path = dir / "ledger.db", spool = dir / "spool";
  make_dirs(spool);
  open_sqlite_ledger(path);
  constexpr int kRounds = 12;
  std::barrier both(2);
  std::vector<std::string> failures(2);
  auto operators = [&](int who) {
    try {
      Loop loop;
      SystemClock clock(loop);
      Ledger ledger(loop, clock, open_sqlite_ledger(path), "ann", "desk");
      for (int round = 0; round < kRounds; ++round) {
        if (who == 0) write_file_durable(spool + "/" + fmt::format("rb-{:02}.jsonl", round), entries(fmt::format("rb-{:02}", round), 1, 3), 0600);
        both.arrive_and_wait();
        std::size_t merged = 0;
        loop.restart();
        run_to_end(loop, merge(ledger, spool, merged));
        both.arrive_and_wait();
      }
    } catch (const std::exception& e) {
      failures[static_cast<std::size_t>(who)] = e.what();
      both.arrive_and_drop();
    }
  };
  std::thread one(operators, 0), two(operators, 1);
  one.join(), two.join();
  CHECK(failures == std::vector<std::string>(2));
  auto found = in_ledger(path);
  CHECK(found.size() == 3 * kRounds);
  for (const auto& [key, times] : found) {
    INFO(key);
    CHECK(times == 1);
  }
  CHECK(open_sqlite_ledger(path)->size() == 1 + 3 * kRounds);
}

TEST_CASE("an entry that is spooled while the file is being merged stays for the next who merges", "[spool]") {
  TempDir dir;
  const auto path = dir / "ledger.db", spool = dir / "spool";
  make_dirs(spool);
  const std::string op = "rb-1";
  write_file_durable(spool + "/" + op + ".jsonl", entries(op, 2, 3), 0600);
  Loop loop;
  SystemClock clock(loop);
  Ledger ledger(loop, clock, open_sqlite_ledger(path), "ann", "desk");
  LedgerNearby none(loop, clock, {}, "web", "ann", "desk");
  EntrySink sink(loop, clock, none, spool, "ann");
  sink.describe("web", op);
  run_to_end(loop, merge_and_write(ledger, spool, sink, loop));
  std::size_t merged = 0;
  loop.restart();
  run_to_end(loop, merge(ledger, spool, merged));
  auto found = in_ledger(path);
  CHECK(found == std::map<std::string, int>{{"rb-1 1", 1}, {"rb-1 2", 1}, {"rb-1 3", 1}});
  CHECK_FALSE(exists(spool + "/" + op + ".jsonl"));
}
