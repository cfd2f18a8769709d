// The ledger of a process, whatever store it has: what goes on an entry, group commit, and the check of a chain.
#include "core/net/ledger.hpp"

#include "tests/core/ledger_fixture.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

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

}  // namespace

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
