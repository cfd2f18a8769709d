// Releases through real sshds, with a real service, looked at from outside.
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "core/base/clock.hpp"
#include "core/base/files.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/fleet_run.hpp"

using namespace ripcord;
using namespace ripcord::test;
namespace fs = std::filesystem;

namespace {

// What a tree is, path by path: type, mode, content or target.
std::map<std::string, std::string> tree_of(const std::string& folder) {
  std::map<std::string, std::string> out;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    struct stat s {};
    REQUIRE(::lstat(entry.path().c_str(), &s) == 0);
    auto name = fs::relative(entry.path(), folder).string();
    if (S_ISLNK(s.st_mode)) out[name] = "link " + fs::read_symlink(entry.path()).string();
    else if (S_ISDIR(s.st_mode)) out[name] = "folder " + std::to_string(s.st_mode & 07777);
    else out[name] = "file " + std::to_string(s.st_mode & 07777) + " " + read_file(entry.path().string());
  }
  return out;
}

std::string release_folder(const FleetRun& fleet, int i) { return fleet.hosts.seen(i, "/srv/web/" + fleet.current(i)); }

constexpr const char* kFourStages =
    "unit: web\nstages:\n  - {name: canary, hosts: 1, bake: 500ms}\n  - {name: one-each, hosts: {count: 1, per: datacenter}, bake: 500ms}\n"
    "  - {name: one-datacenter, hosts: {datacenters: 1}, bake: 500ms}\n  - {name: rest, hosts: rest, slow_start: false}\nwindow: none\n";

}  // namespace

TEST_CASE("twelve hosts, three datacenters, four stages: every byte arrives; a second apply touches nothing; a broken release stops at one") {
  FleetRun fleet({.hosts = 12});
  fleet.write_plan(kFourStages);
  std::string bytes;
  for (int i = 0; i < 70000; ++i) bytes += static_cast<char>(i * 7 + i / 256);
  WebUnit unit;
  unit.files = {{"code/all bytes.bin", bytes}, {"code/données/naïve ☃/empty", ""}, {"code/données/日本語.txt", "text\n"}};
  fleet.write_unit("web", unit);
  fs::create_symlink("bin/sample-service", fleet.folder() + "/web/code/latest");
  fs::create_symlink("../bin/nowhere", fleet.folder() + "/web/code/données/dangling");
  fs::create_directory(fleet.folder() + "/web/code/empty folder");
  ::chmod((fleet.folder() + "/web/code/all bytes.bin").c_str(), 0640);
  ::chmod((fleet.folder() + "/web/code/données").c_str(), 0750);

  auto first = fleet.ripcord({"apply", "web/", "-y", "-m", "first", "-o", "jsonl"});
  INFO(first.output);
  REQUIRE(first.exit == 0);
  CHECK(first.output.find("\"outcome\":\"completed\"") != first.output.npos);
  std::vector<std::string> stages;
  for (const auto& line : split(first.output, '\n'))
    if (line.starts_with("{") && line.find("\"kind\":\"stage.started\"") != line.npos) stages.push_back(get_string(parse_json_object(line, "entry"), "name"));
  CHECK(stages == std::vector<std::string>{"canary", "one-each", "one-datacenter", "rest"});

  CHECK(fleet.all_run("1.0"));
  for (int i = 1; i <= 12; ++i) {
    auto expected = tree_of(fleet.folder() + "/web/code");
    expected["config"] = "folder " + std::to_string(0755);
    expected["config/app.conf"] = "file " + std::to_string(0644) + " listen = " + fleet.hosts.address(i) + ":7101\nversion = 1.0\n";
    CHECK(tree_of(release_folder(fleet, i)) == expected);
    CHECK(fleet.count(i, "ACTIVATED") == 1);
    CHECK(fleet.count(i, "CONFIRMED") == 1);
    CHECK_FALSE(exists(fleet.hosts.seen(i, "/var/lib/ripcord/units/web/pending")));
  }

  std::vector<std::map<std::string, std::string>> before;
  for (int i = 1; i <= 12; ++i) before.push_back(fleet.snapshot(i));
  auto again = fleet.ripcord({"apply", "web@1.0", "-y"});
  CHECK(again.exit == 0);
  CHECK(again.output == "nothing to do: 12 hosts run web@1.0\n");
  for (int i = 1; i <= 12; ++i) CHECK(fleet.changed_since(i, before[static_cast<std::size_t>(i - 1)]) == "");

  WebUnit broken;
  broken.version = "1.1";
  broken.config = "healthy = false\n";
  broken.health = "  interval: 100ms\n  min_healthy_time: 100ms\n  healthy_deadline: 1s\n";
  fleet.write_unit("web-1.1", broken);
  auto failed = fleet.ripcord({"apply", "web-1.1/", "-y"});
  INFO(failed.output);
  CHECK(failed.exit == 3);
  CHECK(failed.output.find("web 1.1: rolled back at ") != failed.output.npos);
  CHECK(fleet.all_run("1.0"));
  int touched = 0;
  for (int i = 1; i <= 12; ++i) {
    touched += fleet.count(i, "ACTIVATED") > 1;
    CHECK(fleet.answer(i, "/healthz") == "ok\n");
  }
  CHECK(touched == 1);
  auto logs = fleet.ripcord({"logs", "web"});
  CHECK(logs.exit == 0);
  CHECK(logs.output.find("failed at health") != logs.output.npos);
  CHECK(logs.output.find("storage backend refused the connection") != logs.output.npos);
}

TEST_CASE("configuration alone; overlays and templates; a release file; a stale plan; the cord from a machine that knows nothing") {
  FleetRun fleet({.hosts = 6});
  WebUnit unit;
  unit.files = {{"config/common/place.tmpl", "${host} in ${datacenter} runs ${role} ${version}\n"}, {"config/common/plain", "common\n"}};
  fleet.write_unit("a", unit);
  REQUIRE(fleet.ripcord({"apply", "a/", "-y"}).exit == 0);
  REQUIRE(fleet.all_run("1.0"));

  unit.version = "1.1";
  unit.config = "latency_ms = 1\n";
  unit.files["config/datacenter/dc2/plain"] = "datacenter\n";
  unit.files["config/host/h5/plain"] = "host\n";
  unit.files["config/host/h4/place"] = "just h4\n";
  fleet.write_unit("b", unit);
  auto built = fleet.second_folder();
  fs::rename(fleet.folder() + "/b", built + "/b");
  auto sealed = fleet.ripcord({"seal", "b", "-o", "web.release"}, built);
  INFO(sealed.output);
  REQUIRE(sealed.exit == 0);

  auto saved = fleet.ripcord({"plan", built + "/web.release", "--save", "next.plan"});
  INFO(saved.output);
  REQUIRE(saved.exit == 0);
  // Where it was sealed nothing is known of the fleet; the file is all that travels.
  auto carried = fleet.ripcord({"apply", built + "/web.release", "-y"});
  INFO(carried.output);
  REQUIRE(carried.exit == 0);
  CHECK(fleet.all_run("1.1"));
  for (int i = 1; i <= 6; ++i) {
    auto config = release_folder(fleet, i) + "/config/";
    auto dc = "dc" + std::to_string((i - 1) % 3 + 1);
    CHECK(read_file(config + "plain") == (i == 5 ? "host\n" : dc == "dc2" ? "datacenter\n" : "common\n"));
    CHECK(read_file(config + "place") == (i == 4 ? "just h4\n" : fleet.hosts.name(i) + " in " + dc + " runs web 1.1\n"));
  }

  auto stale = fleet.ripcord({"apply", "next.plan", "-y"});
  CHECK(stale.exit == 8);
  CHECK(stale.output.find("the plan is stale: h1") != stale.output.npos);

  // Another machine: fleet file and SSH, no ledger, no store.
  auto elsewhere = built;
  fs::remove_all(elsewhere + "/.ripcord");
  auto missing = fleet.ripcord({"rollback", "web", "--to", "0.9", "-y"}, elsewhere);
  CHECK(missing.exit == 8);
  CHECK(missing.output.find("6 of 6 hosts do not hold web@0.9, and it cannot be brought to them: h1, h4, h2, h5, h3, h6") != missing.output.npos);
  CHECK(fleet.all_run("1.1"));
  CHECK(fleet.count(2, "ACTIVATED") == 2);

  auto back = fleet.ripcord({"rollback", "web", "-y", "-m", "numbers fell"}, elsewhere);
  INFO(back.output);
  CHECK(back.exit == 0);
  CHECK(back.output.find("6 hosts returned (undoes rollout r-") != back.output.npos);
  CHECK(fleet.all_run("1.0"));
  std::vector<std::map<std::string, std::string>> before;
  auto but_for_the_fence = [&](int i) {
    auto files = fleet.snapshot(i);
    for (const char* file : {"journal", "lock"}) files.erase(fleet.hosts.seen(i, std::string("/var/lib/ripcord/units/web/") + file));
    return files;
  };
  for (int i = 1; i <= 6; ++i) before.push_back(but_for_the_fence(i));
  auto twice = fleet.ripcord({"rollback", "web", "-y"}, elsewhere);
  INFO(twice.output);
  CHECK(twice.exit == 0);
  CHECK(twice.output.find("0 hosts returned") != twice.output.npos);
  for (int i = 1; i <= 6; ++i) {
    CHECK((but_for_the_fence(i) == before[static_cast<std::size_t>(i - 1)]));
    CHECK(fleet.count(i, "INTENT") == (i == 1 ? 5 : 3));  // the first one has walked the way back before
  }

  auto to = fleet.ripcord({"rollback", "web", "--to", "1.1", "-y"}, elsewhere);
  INFO(to.output);
  CHECK(to.exit == 0);
  CHECK(fleet.all_run("1.1"));

  // To go forward takes the ledger that the hosts know, and pulling the cord did not change which one that is.
  auto foreign = fleet.ripcord({"apply", fleet.folder() + "/a", "-y"}, elsewhere);
  INFO(foreign.output);
  CHECK(foreign.exit == 7);
  CHECK(foreign.output.find("unit 'web' of this host belongs to the ledger of machine '") != foreign.output.npos);
  unit.version = "1.2";
  fleet.write_unit("c", unit);
  auto forward = fleet.ripcord({"apply", "c/", "-y"});
  INFO(forward.output);
  CHECK(forward.exit == 0);
  CHECK(fleet.all_run("1.2"));
}

TEST_CASE("one host of twenty is a black hole: the others are done in time, and it is named") {
  FleetRun fleet({.hosts = 20});
  fleet.write_plan("unit: web\nstages:\n  - {name: canary, hosts: 1}\n  - {name: rest, hosts: rest, max_parallel: 20, slow_start: false}\nwindow: none\nmax_unreachable: 10%\n");
  fleet.write_unit("web", {});
  fleet.hosts.freeze(7);
  auto begun = boot_now();
  auto run = fleet.ripcord({"apply", "web/", "-y"});
  auto took = boot_now() - begun;
  INFO(run.output);
  CHECK(run.exit == 4);
  CHECK(says(run, "waiting for h7: no answer for 2s\n"));
  // Two conversations with it end by their deadlines (connect 2 s, handshake 3 s); the rest is work that needs no waiting for it.
  CHECK(took < Millis(2 * 5000 + 25000));
  for (int i = 1; i <= 20; ++i)
    if (i != 7) CHECK(fleet.version(i) == "1.0");
  auto status = fleet.ripcord({"status", "-o", "json"});
  CHECK(status.exit == 4);
  CHECK(status.output.find("\"owed\":[\"h7\"]") != status.output.npos);
  fleet.hosts.thaw(7);
  CHECK(fleet.version(7).empty());
  auto caught_up = fleet.ripcord({"apply", "web@1.0", "-y"});
  INFO(caught_up.output);
  CHECK(caught_up.exit == 0);
  CHECK(fleet.all_run("1.0"));
}

TEST_CASE("a rollout that would reach nobody is not begun, let alone completed") {
  FleetRun fleet({.hosts = 1});
  fleet.write_unit("web", {});
  fleet.hosts.kill(1);
  auto run = fleet.ripcord({"apply", "web/", "-y"});
  INFO(run.output);
  CHECK(run.exit == 4);
  CHECK(run.output.find("the only host cannot be reached") != run.output.npos);
  CHECK(fleet.ripcord({"history", "--all"}).output.find("started") == std::string::npos);
}
