// The rip cord on real sshds: from a machine that knows nothing, with way backs that are broken, hosts that are away, a rollout under
// way, and a network between (promises 7, 8, 12; docs/cli.md).
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "core/base/clock.hpp"
#include "core/base/files.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/fleet_run.hpp"
#include "tests/support/slow_unit.hpp"

using namespace ripcord;
using namespace ripcord::test;
namespace fs = std::filesystem;

namespace {

// Two releases that share nothing but the program, rolled out one after the other.
void deploy_two(FleetRun& fleet) {
  for (const char* version : {"1.0", "1.1"}) {
    WebUnit unit;
    unit.version = version;
    unit.files = {{"code/only", std::string("of ") + version + "\n"}};
    fleet.write_unit(std::string("web-") + version, unit);
    auto run = fleet.ripcord({"apply", std::string("web-") + version + "/", "-y"});
    INFO(run.output);
    REQUIRE(run.exit == 0);
  }
  REQUIRE(fleet.all_run("1.1"));
}

// 1.0 everywhere, and a rollout of 1.1 that has switched every host and bakes; nobody runs it.
void deploy_two_quickly(FleetRun& fleet) {
  for (const char* version : {"1.0", "1.1"}) {
    WebUnit unit;
    unit.version = version;
    unit.files = {{"code/only", std::string("of ") + version + "\n"}};
    fleet.write_unit(std::string("web-") + version, unit);
    auto run = fleet.ripcord({"apply", std::string("web-") + version + "/", "-y", "--no-wait"});
    INFO(run.output);
    REQUIRE(run.exit == 6);
    if (std::string(version) == "1.0") REQUIRE(fleet.ripcord({"promote", "web"}).exit == 0);
    if (std::string(version) == "1.0") REQUIRE(fleet.ripcord({"resume", "web"}).exit == 0);
  }
  REQUIRE(fleet.all_run("1.1"));
}

std::string old_release(const FleetRun& fleet, int i) {
  for (const auto& entry : fs::directory_iterator(fleet.hosts.seen(i, "/srv/web/releases")))
    if (entry.path().filename().string().starts_with("1.0-")) return entry.path().string();
  return "";
}

}  // namespace

TEST_CASE("the cord from a machine that knows nothing: broken ways back are put right first, an absent host owes it, twice is once", "[cord]") {
  FleetRun fleet({.hosts = 5});
  deploy_two(fleet);
  auto elsewhere = fleet.second_folder();
  std::ofstream(old_release(fleet, 2) + "/only", std::ios::app) << "and an edit";
  fs::remove_all(old_release(fleet, 3));
  fleet.hosts.freeze(4);

  auto checked = fleet.ripcord({"doctor", "--rollback", "--unit", "web"}, elsewhere);
  INFO(checked.output);
  CHECK(checked.exit == 5);
  CHECK(checked.output.find("2 of 5 hosts can go back now, to 1.0, in about ") != checked.output.npos);
  CHECK(checked.output.find("damaged way back to 1.0: 'only' changed ") != checked.output.npos);
  CHECK(checked.output.find("missing way back to 1.0: release 1.0-") != checked.output.npos);

  auto pulled = fleet.ripcord({"rollback", "web", "-y", "-m", "INC-77"}, elsewhere);
  INFO(pulled.output);
  CHECK(pulled.exit == 4);
  CHECK(pulled.output.find("4 hosts returned (undoes rollout r-") != pulled.output.npos);
  CHECK(pulled.output.find("going on without the ledger, what was done is noted in ") != pulled.output.npos);
  CHECK(pulled.output.find("the release was brought to it") != pulled.output.npos);
  const std::string mended = "the release was damaged, and mended; what was there is kept in /srv/web/releases/.damaged-1.0-";
  const auto said = pulled.output.find(mended);
  REQUIRE(said != pulled.output.npos);
  const auto where = pulled.output.find("/srv/", said);
  CHECK(read_file(fleet.hosts.seen(2, pulled.output.substr(where, pulled.output.find_first_of(" \n", where) - where)) + "/only") == "of 1.0\nand an edit");
  for (int i : {1, 2, 3, 5}) {
    CHECK(fleet.runs(i, "1.0"));
    CHECK(read_file(old_release(fleet, i) + "/only") == "of 1.0\n");
  }
  CHECK_FALSE(exists(elsewhere + "/.ripcord/ledger.db"));  // a rollback makes no ledger
  auto spooled = read_file(fs::directory_iterator(elsewhere + "/.ripcord/spool")->path().string());
  CHECK(spooled.find("\"owed\":[\"h4\"]") != spooled.npos);
  CHECK(spooled.find("\"why\":\"INC-77\"") != spooled.npos);

  fleet.hosts.thaw(4);
  auto again = fleet.ripcord({"rollback", "web", "-y"}, elsewhere);
  INFO(again.output);
  CHECK(again.exit == 0);
  CHECK(again.output.find("1 host returned") != again.output.npos);
  CHECK(fleet.all_run("1.0"));
  auto intents = fleet.count(1, "INTENT");
  auto third = fleet.ripcord({"rollback", "web", "-y"}, elsewhere);
  CHECK(third.exit == 0);
  CHECK(third.output.find("0 hosts returned") != third.output.npos);
  CHECK(third.output.find("is undone already; `ripcord rollback web --to VERSION` goes further back") != third.output.npos);
  CHECK(fleet.count(1, "INTENT") == intents);
  auto fenced = fleet.journal(1).back();
  CHECK(get_string(fenced, "kind") == "FENCE");
  CHECK(get_string(fenced, "who") == "ana");
  CHECK(get_string(get_object(fenced, "intended"), "version") == "1.0");
}

TEST_CASE("a host that goes back and stays out of service: the cord says so and is not 0, and once it can be undrained pulling again does it", "[cord][drained]") {
  FleetRun fleet({.hosts = 2});
  WebUnit unit;
  unit.yaml = "actions: {drain: {run: [/usr/bin/test, -e, /]}, undrain: {run: [/usr/bin/test, -e, /srv/door]}}\n";
  for (int i = 1; i <= 2; ++i) write_file_durable(fleet.hosts.seen(i, "/srv/door"), "", 0600);
  for (auto version : {"1.0", "1.1"}) {
    unit.version = version;
    fleet.write_unit(version, unit);
    auto applied = fleet.ripcord({"apply", std::string(version) + "/", "-y", "-q"});
    INFO(applied.output);
    REQUIRE(applied.exit == 0);
  }
  REQUIRE(std::filesystem::remove(fleet.hosts.seen(2, "/srv/door")));
  auto pulled = fleet.ripcord({"rollback", "web", "-y"});
  INFO(pulled.output);
  CHECK(pulled.exit == 5);
  CHECK(fleet.all_run("1.0"));
  CHECK(get_string(fleet.journal(1).back(), "kind") == "CONFIRMED");  // one locked step: who was moved is not fenced once more
  CHECK(says(pulled, "not back in service: undrain of web@1.0"));
  CHECK(says(pulled, "1 host not back in service: look why undrain fails, and `ripcord rollback web` tries it again"));
  CHECK(fleet.ripcord({"rollback", "web", "-y"}).exit == 5);
  write_file_durable(fleet.hosts.seen(2, "/srv/door"), "", 0600);
  auto again = fleet.ripcord({"rollback", "web", "-y"});
  INFO(again.output);
  CHECK(again.exit == 0);
  CHECK_FALSE(exists(fleet.hosts.seen(2, "/var/lib/ripcord/units/web/drained")));
}

TEST_CASE("a way back that nobody can give is said before anything is touched; without those hosts it goes on; the store has it", "[cord]") {
  FleetRun fleet({.hosts = 3});
  deploy_two(fleet);
  auto elsewhere = fleet.second_folder();
  for (int i : {1, 2}) ::unlink((old_release(fleet, i) + "/only").c_str());
  ::unlink((old_release(fleet, 3) + "/only").c_str());
  std::vector<std::map<std::string, std::string>> before;
  for (int i = 1; i <= 3; ++i) before.push_back(fleet.snapshot(i));

  auto refused = fleet.ripcord({"rollback", "web", "-y"}, elsewhere);
  INFO(refused.output);
  CHECK(refused.exit == 8);
  CHECK(refused.output.find("3 of 3 hosts do not hold the release of web to go back to, and it cannot be brought to them: h1, h2, h3") !=
        refused.output.npos);
  CHECK(refused.output.find("--skip-missing") != refused.output.npos);
  auto differs = [&](int i) {  // the lock names who had it last, and what is distrusted is forgotten: neither is a change of the unit
    std::string out;
    for (const auto& line : split(fleet.changed_since(i, before[static_cast<std::size_t>(i - 1)]), '\n'))
      if (!line.empty() && line.find("/units/web/lock") == line.npos && line.find("/stat") == line.npos) out += line + "\n";
    return out;
  };
  for (int i = 1; i <= 3; ++i) CHECK(differs(i) == "");

  write_file_durable(old_release(fleet, 3) + "/only", "of 1.0\n", 0644);  // one host has it after all
  ::unlink((old_release(fleet, 1) + "/bin/sample-service").c_str());
  auto skipped = fleet.ripcord({"rollback", "web", "-y", "--skip-missing"}, elsewhere);
  INFO(skipped.output);
  CHECK(skipped.exit == 0);
  CHECK(fleet.all_run("1.0"));

  REQUIRE(fleet.ripcord({"rollback", "web", "--to", "1.1", "-y"}).exit == 0);
  for (int i = 1; i <= 3; ++i) fs::remove_all(old_release(fleet, i));
  fs::remove_all(fleet.hosts.seen(2, "/var/lib/ripcord/units/web/releases"));  // not even what it was is known there, nor what runs
  fs::remove_all(elsewhere + "/.ripcord/store");
  auto named = fleet.ripcord({"rollback", "web", "--to", "1.0", "-y", "--skip-missing"}, elsewhere);
  INFO(named.output);
  CHECK(named.exit == 5);
  CHECK(named.output.find("h1 missing: ") != named.output.npos);
  CHECK(fleet.all_run("1.1"));
  auto stored = fleet.ripcord({"rollback", "web", "--to", "1.0", "-y"});  // the store of the machine that sealed it
  INFO(stored.output);
  CHECK(stored.exit == 0);
  CHECK(fleet.all_run("1.0"));
}

TEST_CASE("the cord while a rollout runs elsewhere: every host is fenced, the rollout ends, and nobody is left on the new release", "[cord]") {
  FleetRun fleet({.hosts = 4});
  deploy_two(fleet);
  fleet.write_plan("unit: web\nstages:\n  - {name: first, hosts: 2, bake: 60s}\n  - {name: rest, hosts: rest}\nwindow: none\n");
  WebUnit unit;
  unit.version = "1.2";
  fleet.write_unit("web-1.2", unit);
  auto apply = fleet.start({"apply", "web-1.2/", "-y"}, "apply.log");
  auto on_new = [&] {
    int n = 0;
    for (int i = 1; i <= 4; ++i)
      n += fleet.version(i) == "1.2" && !exists(fleet.hosts.seen(i, "/var/lib/ripcord/units/web/pending"));
    return n;
  };
  REQUIRE(eventually([&] { return on_new() == 2; }, Millis(40000)));
  auto pulled = fleet.ripcord({"rollback", "web", "-y", "-m", "numbers fell"}, fleet.second_folder());
  INFO(pulled.output);
  CHECK(pulled.exit == 0);
  CHECK(pulled.output.find("2 hosts returned") != pulled.output.npos);
  CHECK(fleet.all_run("1.1"));
  for (int i = 1; i <= 4; ++i) {
    auto records = fleet.journal(i);
    CHECK(std::any_of(records.begin(), records.end(), [](const auto& r) {
      return get_string(r, "kind") == "FENCE" && get_string(r, "holder").starts_with("rb-");
    }));
  }
  REQUIRE(fleet.ripcord({"promote", "web"}).exit == 0);  // the rollout wants to go on, and is refused by hosts that it has not touched
  auto end = FleetRun::wait(apply, Millis(60000));
  INFO(fleet.output("apply.log"));
  CHECK(end.exit == 7);
  CHECK(fleet.all_run("1.1"));
  for (int i = 1; i <= 4; ++i) CHECK_FALSE(exists(fleet.hosts.seen(i, "/var/lib/ripcord/units/web/pending")));
}

TEST_CASE("the cord in the middle of a restart that another machine began: it ends that, and the new release does not come after it", "[cord]") {
  FleetRun fleet({.hosts = 3});
  fleet.write_plan("unit: web\nstages:\n  - {name: all, hosts: rest, slow_start: false, max_parallel: 2}\nwindow: none\n");
  write_slow(fleet, "1.0", "0");
  REQUIRE(fleet.ripcord(apply_words("1.0", "")).exit == 0);
  write_slow(fleet, "1.1", "1");
  auto apply = fleet.start(apply_words("1.1", "1.0"), "apply.log");
  auto under_way = [&] {
    int n = 0;
    for (int i = 1; i <= 3; ++i) n += fleet.count(i, "ACTIVATED") == 2 && starts(fleet, i, "1.1") == 1;
    return n;
  };
  REQUIRE(eventually([&] { return under_way() == 2; }, Millis(30000)));
  auto pulled = fleet.ripcord({"rollback", "web", "-y", "-m", "numbers fell"}, fleet.second_folder());
  INFO(pulled.output);
  CHECK(pulled.exit == 0);
  CHECK(fleet.all_run("1.0"));
  auto end = FleetRun::wait(apply, Millis(60000));
  INFO(fleet.output("apply.log"));
  CHECK(end.exit == 7);
  ::usleep(1200000);  // a start script that had been left alone would be through by now
  CHECK(fleet.all_run("1.0"));
  for (int i = 1; i <= 3; ++i) {
    CHECK(fleet.count(i, "CONFIRMED") <= 2);  // its first release, and the way back
    CHECK(fleet.most_activated(i) == "");
    CHECK_FALSE(exists(fleet.hosts.seen(i, "/var/lib/ripcord/units/web/pending")));
  }
}

TEST_CASE("a failed rollout's own way back is mended as well when it was damaged meanwhile", "[cord]") {
  FleetRun fleet({.hosts = 2});
  fleet.write_plan("unit: web\nstages:\n  - {name: all, hosts: rest, max_parallel: 1, slow_start: false, bake: 60s}\nwindow: none\n");
  deploy_two_quickly(fleet);
  fs::remove_all(fleet.folder() + "/.ripcord/store/objects");  // this machine has lost them: the other host gives them
  std::ofstream(old_release(fleet, 2) + "/only", std::ios::app) << "and an edit";
  auto aborted = fleet.ripcord({"abort", "web"});
  INFO(aborted.output);
  CHECK(aborted.exit == 3);
  CHECK(says(aborted, "h2 returned to 1.0; edited by hand: release 1.0-"));
  CHECK(says(aborted, ", kept in /srv/web/releases/.damaged-1.0-"));
  CHECK(fleet.all_run("1.0"));
  CHECK(read_file(old_release(fleet, 2) + "/only") == "of 1.0\n");
}

TEST_CASE("two cords at once are one, also while the fleet is halted", "[cord]") {
  FleetRun fleet({.hosts = 3});
  deploy_two(fleet);
  auto halted = fleet.ripcord({"halt", "-m", "something smells"});
  INFO(halted.output);
  REQUIRE(halted.exit == 0);
  auto elsewhere = fleet.second_folder();
  std::vector<int> before;
  for (int i = 1; i <= 3; ++i) before.push_back(fleet.count(i, "ACTIVATED"));
  auto first = fleet.start({"rollback", "web", "-y"}, "first.log");
  auto second = fleet.ripcord({"rollback", "web", "-y"}, elsewhere);
  auto end = FleetRun::wait(first);
  INFO(fleet.output("first.log") << "\n" << second.output);
  CHECK(end.exit == 0);
  CHECK(second.exit == 0);
  CHECK(fleet.all_run("1.0"));
  for (int i = 1; i <= 3; ++i) CHECK(fleet.count(i, "ACTIVATED") == before[static_cast<std::size_t>(i - 1)] + 1);
}

TEST_CASE("the first of twelve hosts has switched at once", "[cord]") {
  FleetRun fleet({.hosts = 12});
  deploy_two(fleet);
  auto begun = wall_now();
  auto near = fleet.ripcord({"rollback", "web", "-y"});
  INFO(near.output);
  CHECK(near.exit == 0);
  CHECK(fleet.all_run("1.0"));
  Millis first(1000000);
  for (int i = 1; i <= 12; ++i)
    for (const auto& r : fleet.journal(i))
      if (get_string(r, "kind") == "ACTIVATED") {
        auto at = parse_utc(get_string(r, "at"));
        if (at >= begun) first = std::min(first, at - begun);
      }
  WARN("the first of twelve hosts had switched after " << first.count() << " ms");
  CHECK(first < Millis(5000));  // 1 s on a machine that does nothing else; here the build is not optimised and others work
}
