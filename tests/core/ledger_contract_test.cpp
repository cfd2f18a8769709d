// What every store of a ledger promises, asked of each alike: a file (SQLite) and a database (PostgreSQL).
#include <unistd.h>

#include <cstdlib>
#include <future>

#include "tests/core/ledger_fixture.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

enum class Kind { file, database };

// One new ledger, opened as often as wanted.
struct Place {
  explicit Place(Kind kind) {
    if (kind == Kind::database && !no_postgres()) schema.emplace();
    there = kind == Kind::file || schema;
  }
  std::unique_ptr<LedgerStore> open() const {
    return schema ? open_postgres_ledger(schema->url, Millis(20000)) : open_sqlite_ledger(folder.db());
  }
  Folder folder;
  std::optional<PgSchema> schema;
  bool there = false;
};

}  // namespace

TEST_CASE("ledger stores: lines, chain and origin are what the format says, byte by byte; several stores see each other", "[ledger]") {
  Place place(GENERATE(Kind::file, Kind::database));
  if (!place.there) return;
  auto store = place.open();
  CHECK(store->id().size() == 32);
  CHECK(store->remote() == place.schema.has_value());
  CHECK(store->warnings().empty());
  Bench bench(std::move(store));
  std::vector<json::object> two{body("a", 1), body("b", 2)};
  auto stored = bench.append(two);
  REQUIRE(stored.size() == 2);
  CHECK(stored[0].seq == 1);
  CHECK(stored[0].line == "{\"seq\":1,\"prev\":\"" + bench.ledger.read(0, 1)[0].leaf.hex() +
                              "\",\"time\":\"2026-11-20T12:00:00.123Z\",\"who\":\"alice\",\"machine\":\"desk\",\"kind\":\"a\",\"n\":1}");
  auto other = place.open();
  CHECK(bench.ledger.id().substr(0, 32) == other->id());
  CHECK(bench.ledger.id().find('@') == 32);
  other->append({stamp(3)}, {});
  auto all = bench.ledger.read(0);
  REQUIRE(all.size() == 4);
  require_chain(all);
  CHECK_FALSE(find_broken_link(all, Digest{}));
  CHECK(get_string(all[0].body, "id") + "@" + get_string(all[0].body, "machine") == bench.ledger.id());
  CHECK(get_int(all[0].body, "format") == 1);
  CHECK(get_string(all[0].body, "kind") == "ledger.created");
  CHECK(other->size() == 4);
  CHECK(bench.ledger.read(3, 10).size() == 1);
  CHECK(other->read(2, 1).size() == 1);
  auto odd = [](std::int64_t seq, const Digest& prev) {
    return json::serialize(json::object{{"seq", seq}, {"prev", prev.hex()}, {"text", "ü\\\"\n\x01 😀"}});
  };
  auto kept = other->append({odd}, {});
  CHECK(bench.ledger.read(4, 1).at(0).line == kept[0].line);
}

TEST_CASE("ledger stores: a refused guard fails its own batch of a commit, and nothing of it is there", "[ledger]") {
  Place place(GENERATE(Kind::file, Kind::database));
  if (!place.there) return;
  auto store = place.open();
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

TEST_CASE("ledger stores: a refused guard fails its own caller, not those whose entries it would have shared a commit with", "[ledger]") {
  Place place(GENERATE(Kind::file, Kind::database));
  if (!place.there) return;
  Bench bench(place.open());
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

TEST_CASE("ledger stores: a lease is taken, refused, renewed, taken over, released; its epoch only grows", "[ledger]") {
  Place place(GENERATE(Kind::file, Kind::database));
  if (!place.there) return;
  auto store = place.open(), second = place.open();
  CHECK_FALSE(store->lease("storefront"));
  auto first = store->acquire(wanted("a"), Millis(60000), 0, false);
  REQUIRE(first);
  CHECK(first->epoch == 1);
  CHECK(first->expires_ms - first->acquired_ms == 60000);
  CHECK_FALSE(second->acquire(wanted("b"), Millis(60000), 0, false));
  auto seen = second->lease("storefront");
  REQUIRE(seen);
  CHECK(seen->holder == "a");
  CHECK(seen->who == "alice");
  CHECK(seen->machine == "desk");
  CHECK(seen->rollout == "r1");
  CHECK(seen->why == "test");
  CHECK(std::abs(seen->expires_ms - wall_now().ms - 60000) < 5000);
  CHECK(store->renew(*first, Millis(90000)));
  CHECK(store->lease("storefront")->expires_ms > first->expires_ms);

  auto taken = second->acquire(wanted("b"), Millis(60000), 0, true);
  REQUIRE(taken);
  CHECK(taken->epoch == 2);
  CHECK_FALSE(store->renew(*first, Millis(60000)));
  store->release(*first);  // no longer ours: does nothing
  CHECK(store->lease("storefront")->holder == "b");
  store->release(*taken);
  CHECK_FALSE(store->lease("storefront"));
  CHECK_FALSE(store->renew(*taken, Millis(60000)));

  auto third = place.open()->acquire(wanted("c"), Millis(60000), 0, false);
  CHECK(third->epoch == 3);
  CHECK(store->acquire(wanted("c"), Millis(60000), 40, false)->epoch == 41);  // hosts had seen 40
  auto other = wanted("d");
  other.scope = "search";
  CHECK(store->acquire(other, Millis(1), 0, false)->epoch == 1);
}

TEST_CASE("ledger stores: an expired lease can be taken, and renewed only while nobody took it", "[ledger]") {
  Place place(GENERATE(Kind::file, Kind::database));
  if (!place.there) return;
  auto store = place.open(), second = place.open();
  auto lease = store->acquire(wanted("a"), Millis(1), 0, false);
  ::usleep(10000);
  CHECK(store->renew(*lease, Millis(1)));
  ::usleep(10000);
  auto next = second->acquire(wanted("b"), Millis(60000), 0, false);
  REQUIRE(next);
  CHECK(next->epoch == 2);
  CHECK_FALSE(store->renew(*lease, Millis(60000)));
}

TEST_CASE("ledger stores: many writers keep one chain, and nobody's lines twice", "[ledger]") {
  const auto kind = GENERATE(Kind::file, Kind::database);
  Place place(kind);
  if (!place.there) return;
  const int each = kind == Kind::file ? 6 : 25;  // who finds a file locked looks again later and later
  place.open();
  std::vector<std::future<void>> writers;
  for (int w = 0; w < 4; ++w)
    writers.push_back(std::async(std::launch::async, [&place, w, each] {
      auto store = place.open();
      for (int i = 0; i < each; ++i) store->append({stamp(w * 1000 + i)}, {});
    }));
  for (auto& w : writers) w.get();
  auto all = place.open()->read(0, 1000);
  CHECK(all.size() == static_cast<std::size_t>(4 * each + 1));
  CHECK_FALSE(find_broken_link(all, Digest{}));
  std::set<std::int64_t> once;
  for (const auto& e : all) once.insert(get_int_or(e.body, "n", -1));
  CHECK(once.size() == all.size());
}

TEST_CASE("ledger stores: several that open one for the first time at once find one ledger", "[ledger]") {
  const auto kind = GENERATE(Kind::file, Kind::database);
  for (int round = 0; round < 4; ++round) {
    Place place(kind);
    if (!place.there) return;
    std::vector<std::future<std::string>> first;
    for (int i = 0; i < 4; ++i) first.push_back(std::async(std::launch::async, [&place] { return place.open()->id(); }));
    std::set<std::string> ids;
    for (auto& f : first) ids.insert(f.get());
    CHECK(ids.size() == 1);
  }
}

TEST_CASE("ledger stores: changed_elsewhere tells others' entries from our own", "[ledger]") {
  Place place(GENERATE(Kind::file, Kind::database));
  if (!place.there) return;
  Bench bench(place.open());
  CHECK_FALSE(bench.ledger.changed_elsewhere());
  bench.append({body("mine")});
  CHECK_FALSE(bench.ledger.changed_elsewhere());
  auto other = place.open();
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
