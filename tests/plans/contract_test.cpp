#include "plans/files/contract.hpp"

#include "tests/support/catch.hpp"

using namespace ripcord;

namespace {

Party party(const std::string& unit, const std::string& version, std::set<int> reads, int writes, const std::string& format = "orders-db") {
  return {unit, version, {{format, Format{std::move(reads), writes}}}};
}

std::vector<std::string> words(const std::vector<Breach>& all) {
  std::vector<std::string> out;
  for (const auto& b : all) out.push_back((b.closes_way_back ? "! " : "") + b.what + " | " + b.hint);
  return out;
}

using V = std::vector<std::string>;

}  // namespace

TEST_CASE("writing what the old release cannot read closes the way back, and two steps are what helps") {
  auto old = party("shop", "1.0", {6}, 6);
  CHECK(words(breaches(party("shop", "2.0", {6, 7}, 7), {old}, {})) ==
        V{"! no way back: shop@2.0 writes orders-db 7, and shop@1.0, which it replaces, reads only 6 | take two steps: first a release that reads "
          "6, 7 of orders-db and writes 6 as before, then this one; or, knowing that nobody can go back: --point-of-no-return orders-db:7 -m WHY"});
  // The two steps themselves.
  CHECK(breaches(party("shop", "1.1", {6, 7}, 6), {old}, {}).empty());
  CHECK(breaches(party("shop", "2.0", {6, 7}, 7), {party("shop", "1.1", {6, 7}, 6)}, {}).empty());
}

TEST_CASE("old and new run side by side: the new one reads what the old one writes") {
  CHECK(words(breaches(party("shop", "2.0", {7}, 7), {party("shop", "1.0", {6, 7}, 6)}, {})) ==
        V{"shop@2.0 reads only 7 of orders-db, and shop@1.0, which runs beside it until the last host is switched, writes 6 | seal a release that "
          "reads 6, 7 of orders-db as well"});
}

TEST_CASE("every unit that names the format has a say") {
  auto coming = party("shop", "2.0", {6, 7}, 7);
  std::vector<Party> none;
  CHECK(words(breaches(coming, none, {party("reports", "5", {6}, 0)})) ==
        V{"shop@2.0 writes orders-db 7, and reports@5, which runs in this fleet, reads only 6 | take two steps: first roll out a reports that "
          "reads 6, 7 of orders-db, then this release"});
  CHECK(words(breaches(coming, none, {party("import", "3", {}, 8)})) ==
        V{"shop@2.0 reads 6, 7 of orders-db, and import@3, which runs in this fleet, writes 8 | seal a release that reads 6, 7, 8 of orders-db as well"});
  CHECK(breaches(coming, none, {party("reports", "5", {6}, 0, "mails")}).empty());
  CHECK(breaches(coming, {Party{"shop", "0.9", {}}}, {}).empty());             // never heard of the format
  CHECK(breaches(party("log", "2", {}, 7), none, {party("log2", "2", {}, 6)}).empty());  // nobody reads
}

TEST_CASE("a format and its version") {
  CHECK(parse_format_version("orders-db:7") == FormatVersion{"orders-db", 7});
  for (const char* wrong : {"orders-db", "orders-db:", ":7", "orders-db:x", "orders-db:0", "orders-db:-1", "orders-db:7 "})
    CHECK_FALSE(parse_format_version(wrong));
  CHECK(to_text(FormatVersion{"a", 1}) == "a:1");
}

namespace {

UnitSpec unit(const std::string& version, std::map<std::string, Format> formats = {}) {
  UnitSpec spec;
  spec.unit = "shop";
  spec.version = version;
  spec.formats = std::move(formats);
  return spec;
}

std::vector<std::string> found(const ContractView& view, const UnitSpec& coming, const std::map<std::string, std::size_t>& running,
                               std::vector<std::string>* no_return = nullptr) {
  std::vector<std::string> points, out;
  for (const auto& f : check_contract(view, coming, running, points)) out.push_back((f.blocks ? "! " : "") + f.what);
  if (no_return) *no_return = points;
  return out;
}

}  // namespace

TEST_CASE("a point of no return is passed by name only, and only where there is one") {
  ContractView view;
  view.replaced = {party("shop", "1.0", {6}, 6)};
  auto coming = unit("2.0", {{"orders-db", Format{{6, 7}, 7}}});
  std::vector<std::string> points;
  auto refused = found(view, coming, {}, &points);
  REQUIRE(refused.size() == 1);
  CHECK(refused[0].starts_with("! no way back: shop@2.0 writes orders-db 7"));
  CHECK(points.empty());

  view.point_of_no_return = {"orders-db:7"};
  auto passed = found(view, coming, {}, &points);
  REQUIRE(passed.size() == 1);
  CHECK(passed[0].starts_with("POINT OF NO RETURN orders-db:7: no way back: shop@2.0 writes orders-db 7, and shop@1.0, which it replaces, reads only 6; "));
  CHECK(points == V{"orders-db:7"});

  view.point_of_no_return = {"orders-db:8"};
  CHECK(found(view, coming, {}).back() == "! --point-of-no-return 'orders-db:8' names nothing that this rollout would pass (it passes orders-db:7)");
  view.replaced.clear();
  CHECK(found(view, coming, {}) ==
        V{"! --point-of-no-return 'orders-db:8' names nothing that this rollout would pass (every release that is replaced reads what this one writes)"});
}

TEST_CASE("at most two versions live at once") {
  ContractView view;
  CHECK(found(view, unit("1.2"), {{"1.1", 9}}).empty());
  CHECK(found(view, unit("1.1"), {{"1.0", 3}, {"1.1", 9}}).empty());
  CHECK(found(view, unit("1.2"), {{"1.0", 3}, {"1.1", 9}}) ==
        V{"! 1.2 would be the third live version: hosts run 1.0 on 3, 1.1 on 9, and at most two may live in a fleet at once; bring them to one first "
          "(`ripcord apply shop@1.1`), or name the one that may stay meanwhile: --also-live 1.0 -m WHY"});
  view.also_live = {"1.0"};
  CHECK(found(view, unit("1.2"), {{"1.0", 3}, {"1.1", 9}}).empty());
  CHECK(found(view, unit("1.2"), {{"0.9", 1}, {"1.0", 3}, {"1.1", 9}}).size() == 1);
  CHECK(found(view, unit("1.2"), {{"1.1", 9}}) == V{"! --also-live '1.0' names no version that runs here"});
}

TEST_CASE("required units run in that version, all of them") {
  ContractView view;
  auto coming = unit("2.0");
  coming.requires_units["payments"] = "2.4";
  CHECK(found(view, coming, {}) == V{"! shop@2.0 requires payments@2.4, and by the ledger this fleet runs none of it; roll that out first: `ripcord apply payments@2.4`"});
  view.live["payments"]["2.4"] = {"a", "b"};
  CHECK(found(view, coming, {}).empty());
  view.live["payments"]["2.3"] = {"c"};
  CHECK(found(view, coming, {})[0].find("this fleet runs 2.3 on 1, 2.4 on 2;") != std::string::npos);
}
