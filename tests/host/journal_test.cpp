#include "manifests/host/journal.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "manifests/host/lock.hpp"
#include "tests/host/test_host.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

ReleaseId release(const std::string& version) { return {version, sha256("manifest " + version), sha256("tree " + version)}; }

struct Writer : TestHost {
  void append(const std::string& kind, json::object members) {
    UnitLock lock(host, unit(), "test");
    Journal(unit()).append(host, lock, kind, std::move(members));
  }
  void intent(const std::string& op, std::optional<ReleaseId> from, std::optional<ReleaseId> to, bool forward = true, int epoch = 1) {
    append("INTENT", {{"op", op}, {"rollout", "r-" + op}, {"forward", forward}, {"from", to_json(from)}, {"to", to_json(to)},
                      {"epoch", epoch}, {"holder", "anna"}, {"ledger_id", "L1"}, {"who", "anna"}, {"why", "because"}, {"within_ms", 60000}});
  }
  void op(const std::string& kind, const std::string& id) { append(kind, {{"op", id}}); }
};

}  // namespace

TEST_CASE("a journal begins with CREATED, chains its lines and reads back", "[journal]") {
  Writer w;
  CHECK(Journal(w.unit()).records().empty());
  CHECK_FALSE(exists(w.unit().state));
  w.append("FENCE", {{"epoch", 3}, {"holder", "anna"}, {"ledger_id", "L1"}});
  w.append("FENCE", {{"epoch", 4}, {"holder", "ben"}, {"ledger_id", "L1"}});
  Journal journal(w.unit());
  REQUIRE(journal.records().size() == 3);
  CHECK(w.kinds() == std::vector<std::string>{"CREATED", "FENCE", "FENCE"});
  CHECK(get_string(journal.records()[0].body, "root") == "/srv");
  CHECK(get_string(journal.records()[0].body, "prev") == std::string(64, '0'));
  CHECK(get_string(journal.records()[1].body, "prev") == sha256(journal.records()[0].line).hex());
  CHECK(journal.seq() == 3);
  CHECK(journal.head_hash() == sha256(journal.records()[2].line).hex());
  auto history = w.history();
  CHECK(history.epoch == 4);
  CHECK(history.holder == "ben");
  CHECK(history.host_id == w.host.host_id());
  CHECK(history.host_id.size() == 32);
  CHECK(mode_of(w.unit().journal()) == 0600);
  CHECK(mode_of(w.unit().state) == 0700);
  CHECK(known_units(w.host.layout).size() == 1);
  CHECK(known_units(w.host.layout)[0].root == "/srv");
}

TEST_CASE("a torn last line is dropped in silence, and the next append takes its place", "[journal]") {
  Writer w;
  w.append("FENCE", {{"epoch", 1}, {"holder", "a"}, {"ledger_id", ""}});
  auto whole = text_of(w.unit().journal());
  w.append("FENCE", {{"epoch", 2}, {"holder", "a"}, {"ledger_id", ""}});
  auto longer = text_of(w.unit().journal());
  for (std::size_t cut = whole.size(); cut < longer.size(); ++cut) {  // every way in which the line can be torn
    put(w.unit().journal(), longer.substr(0, cut));
    REQUIRE(w.history().epoch == 1);
  }
  put(w.unit().journal(), whole + std::string(40, '\0') + longer.substr(whole.size() + 40));  // blocks out of order
  CHECK(w.history().epoch == 1);
  w.append("FENCE", {{"epoch", 9}, {"holder", "a"}, {"ledger_id", ""}});
  CHECK(w.history().epoch == 9);
  CHECK(Journal(w.unit()).seq() == 3);
  CHECK(text_of(w.unit().journal()).compare(0, whole.size(), whole) == 0);
}

TEST_CASE("damage in the middle is reported, and nothing is written", "[journal]") {
  Writer w;
  for (int epoch = 1; epoch <= 3; ++epoch) w.append("FENCE", {{"epoch", epoch}, {"holder", "a"}, {"ledger_id", ""}});
  auto text = text_of(w.unit().journal());
  auto second_line = text.find('\n') + 1;
  SECTION("a flipped byte") {
    auto at = text.find("\"epoch\":1");
    text[at + 8] = '7';
    put(w.unit().journal(), text);
    auto r = refusal([&] { Journal journal(w.unit()); });
    CHECK(r.code == "journal_damaged");
    CHECK(r.message == "the journal '" + w.unit().journal() + "' is damaged at line 3: its 'prev' is not the hash of the line before it");
  }
  SECTION("a line taken out") {
    auto third_line = text.find('\n', second_line) + 1;
    put(w.unit().journal(), text.substr(0, second_line) + text.substr(third_line));
    auto r = refusal([&] { Journal journal(w.unit()); });
    CHECK(r.code == "journal_damaged");
    CHECK(r.message == "the journal '" + w.unit().journal() + "' is damaged at line 2: expected record 2, found 3");
  }
  SECTION("a last line that was changed and not torn") {
    text[text.size() - 10] ^= 1;
    text[text.size() - 2] = ']';
    put(w.unit().journal(), text);
    CHECK(refusal([&] { Journal journal(w.unit()); }).code == "journal_damaged");
  }
  CHECK(refusal([&] { w.append("FENCE", {{"epoch", 8}, {"holder", "a"}, {"ledger_id", ""}}); }).code == "journal_damaged");
  CHECK(text_of(w.unit().journal()).find("\"epoch\":8") == std::string::npos);
}

TEST_CASE("a journal that changed since it was read, or without the lock, is not appended to", "[journal]") {
  Writer w;
  w.append("FENCE", {{"epoch", 1}, {"holder", "a"}, {"ledger_id", ""}});
  Journal stale(w.unit());
  w.append("FENCE", {{"epoch", 2}, {"holder", "a"}, {"ledger_id", ""}});
  UnitLock lock(w.host, w.unit(), "test");
  CHECK(refusal([&] { stale.append(w.host, lock, "FENCE", {{"epoch", 3}, {"holder", "a"}}); }).message ==
        "the journal '" + w.unit().journal() + "' changed after it was read; read it again under the lock");
  UnitLock other(w.host, w.unit("another"), "test");
  Journal fresh(w.unit());
  CHECK(refusal([&] { fresh.append(w.host, other, "FENCE", {{"epoch", 3}, {"holder", "a"}}); }).message == "journal append without the unit's lock");
  CHECK(w.history().epoch == 2);
}

TEST_CASE("room for the way back is kept behind the journal's end", "[journal]") {
  Writer w;
  w.append("FENCE", {{"epoch", 1}, {"holder", "a"}, {"ledger_id", ""}});
  struct stat before {}, after {};
  ::stat(w.unit().journal().c_str(), &before);
  {
    UnitLock lock(w.host, w.unit(), "test");
    Journal(w.unit()).reserve(w.host, lock);
  }
  ::stat(w.unit().journal().c_str(), &after);
  CHECK(after.st_size == before.st_size);
  CHECK(after.st_blocks * 512 >= after.st_size + Journal::kReserve);
}

TEST_CASE("writing over a torn line keeps the room behind it", "[journal]") {
  Writer w;
  w.append("FENCE", {{"epoch", 1}, {"holder", "a"}, {"ledger_id", ""}});
  {
    UnitLock lock(w.host, w.unit(), "test");
    Journal(w.unit()).reserve(w.host, lock);
  }
  {  // torn, and longer than the record that will take its place; appended in place, as a crash leaves it
    Fd fd = open_file(w.unit().journal(), O_WRONLY | O_APPEND);
    write_all(fd.get(), std::string(3000, 'x'), "the journal");
  }
  w.append("FENCE", {{"epoch", 2}, {"holder", "a"}, {"ledger_id", ""}});
  struct stat st {};
  ::stat(w.unit().journal().c_str(), &st);
  CHECK(st.st_blocks * 512 >= Journal::kReserve);
  CHECK(w.history().epoch == 2);
  w.append("FENCE", {{"epoch", 3}, {"holder", "a"}, {"ledger_id", ""}});
  CHECK(w.history().epoch == 3);
  CHECK(Journal(w.unit()).seq() == 4);
}

TEST_CASE("the fold knows where every operation stands", "[history]") {
  Writer w;
  auto a = release("1.0"), b = release("1.1"), c = release("1.2");
  CHECK_FALSE(w.history().way_back(a));
  w.intent("op1", std::nullopt, a);
  CHECK(w.history().open()->state.phase == OpPhase::intent);
  w.append("ARMED", {{"op", "op1"}, {"strength", "weak"}, {"deadline_us", (w.host.elapsed() + Millis(5000)).us}});
  auto left = state_of(*w.history().open(), w.host).deadline_left_ms;
  CHECK(left > 3000);
  CHECK(left <= 5000);
  auto rebooted = w.host;
  rebooted.boot_id = "another-boot";
  CHECK(state_of(*w.history().open(), rebooted).deadline_left_ms == 0);
  w.op("ACTIVATED", "op1");
  CHECK(w.history().believed == a);
  w.op("CONFIRMED", "op1");
  CHECK(state_of(*w.history().find("op1"), w.host).deadline_left_ms == -1);
  CHECK_FALSE(w.history().open());
  CHECK_FALSE(w.history().way_back(a));  // it came from nothing

  w.intent("op2", a, b, true, 2);
  w.op("ACTIVATED", "op2");
  CHECK(w.history().way_back(b) == a);  // open: going back is still going back
  w.op("CONFIRMED", "op2");
  CHECK(w.history().way_back(b) == a);
  CHECK_FALSE(w.history().way_back(a));
  CHECK(w.history().epoch == 2);
  CHECK(w.history().once_confirmed(a));
  CHECK_FALSE(w.history().once_confirmed(c));

  w.intent("op3", b, c);
  w.op("ACTIVATED", "op3");
  w.op("REVERTING", "op3");
  CHECK(w.history().find("op3")->attempts == 1);
  w.append("REVERTED", {{"op", "op3"}, {"detail", "health failed"}});
  CHECK(w.history().find("op3")->state.detail == "health failed");
  CHECK(w.history().believed == b);
  CHECK(w.history().way_back(b) == a);  // what was reverted is not the newest forward operation that went

  w.intent("back1", b, a, false);
  w.op("ACTIVATED", "back1");
  w.op("CONFIRMED", "back1");
  CHECK(w.history().believed == a);
  CHECK_FALSE(w.history().way_back(a));  // never further back by itself
  CHECK(w.history().order == std::vector<std::string>{"op1", "op2", "op3", "back1"});

  auto nonsense = refusal([&] {
    w.op("CONFIRMED", "op9");
    w.history();
  });
  CHECK(nonsense.code == "journal_damaged");
  CHECK(nonsense.message.find("makes no sense: CONFIRMED of the operation 'op9', which has no INTENT") != std::string::npos);
}

TEST_CASE("one writer a unit; who waits in vain is told for whom", "[lock]") {
  Writer w;
  CHECK_FALSE(UnitLock::is_held(w.unit()));
  {
    UnitLock lock(w.host, w.unit(), "activate op-17");
    CHECK(UnitLock::is_held(w.unit()));
    UnitLock other(w.host, w.unit("another"), "test");  // another unit is another lock
    auto r = refusal([&] { UnitLock second(w.host, w.unit(), "stage 1.1", Millis(30)); });
    CHECK(r.code == "busy");
    CHECK(r.message == "unit 'storefront' is being changed by another process (pid " + std::to_string(::getpid()) +
                           ": activate op-17); waited 30ms for its lock");
  }
  CHECK_FALSE(UnitLock::is_held(w.unit()));
  UnitLock again(w.host, w.unit(), "test", Millis(0));
  CHECK(again.held());
}

TEST_CASE("paths of a unit are checked before they are used", "[layout]") {
  auto layout = Layout::choose("/tmp/x/", "");
  CHECK(layout.state == "/tmp/x/var/lib/ripcord");
  CHECK(layout.on_host("/etc/app") == "/tmp/x/etc/app");
  CHECK(layout.on_host("/tmp/x/etc/app") == "/tmp/x/etc/app");
  CHECK(layout.on_host("/tmp/xy") == "/tmp/x/tmp/xy");
  CHECK(layout.unit({"app", "/srv"}).current == "/tmp/x/srv/app/current");
  CHECK(Layout::choose("", "/s").state == "/s");
  for (const char* name : {"", "..", ".x", "-rf", "a/b", "a b", "a\nb"}) CHECK(refusal([&] { layout.unit({name, "/srv"}); }).code == "bad_path");
  for (const char* root : {"", "srv", "/srv/../etc", "//srv", "/srv/", "/s\nrv"}) CHECK(refusal([&] { layout.unit({"app", root}); }).code == "bad_path");
}
