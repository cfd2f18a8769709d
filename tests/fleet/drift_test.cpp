// Drift on real hosts: what was tampered with is found and named, what is as it should be is silent.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "core/base/files.hpp"
#include "tests/support/campaign.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/fleet_run.hpp"

using namespace ripcord;
using namespace ripcord::test;
namespace fs = std::filesystem;

namespace {

WebUnit web(const std::string& version, const std::string& more = "") {
  WebUnit unit;
  unit.version = version;
  unit.yaml = "files:\n  - {from: config/extra.conf, to: /etc/app/extra.conf, mode: 0640}\n" + more;
  unit.files = {{"code/lib/a", "aaaa"}, {"code/lib/b", "bbbb"}, {"code/lib/c", "cccc"}, {"code/lib/d", "dddd"}, {"code/lib/e", "eeee"},
                {"code/lib/f", "ffff"}, {"config/common/extra.conf", "level = 1\n"}};
  return unit;
}

struct DriftFleet : FleetRun {
  explicit DriftFleet(int how_many) : FleetRun({.hosts = how_many}) {
    for (const char* version : {"1.0", "1.1"}) {
      write_unit(version, web(version));
      fs::create_symlink("a", folder() + "/" + version + "/code/lib/link");
      auto applied = ripcord({"apply", std::string(version) + "/", "-y"});
      INFO(applied.output);
      REQUIRE(applied.exit == 0);
    }
  }
  std::string at(int i, const std::string& path) const { return hosts.seen(i, "/srv/web/" + current(i) + "/" + path); }
  json::object scan(std::vector<std::string> options = {}) const {
    options.insert(options.begin(), {"drift", "-o", "json", "-q"});
    auto r = ripcord(options);
    INFO(r.output);
    auto o = parse_json_object(r.output, "drift");
    CHECK(get_int(o, "exit") == r.exit);
    return o;
  }
  // "host kind path" of every finding, one a line.
  static std::string found(const json::object& o) {
    std::vector<std::string> lines;
    for (const auto& v : get_array(o, "findings")) {
      const auto& f = v.as_object();
      auto path = get_string(f, "path");
      lines.push_back(get_string(f, "host") + " " + get_string(f, "kind") + (path.empty() ? "" : " " + path));
    }
    std::sort(lines.begin(), lines.end());
    return join(lines, "\n");
  }
  static std::string state(const json::object& o, const std::string& host) {
    for (const auto& h : get_array(o, "hosts"))
      if (get_string(h.as_object(), "host") == host) return get_string(h.as_object(), "state");
    return "";
  }
};

void put(const std::string& path, const std::string& text) { write_file_durable(path, text, 0644); }

}  // namespace

TEST_CASE("tampering on real hosts is found, named and explained; unreachable is never clean; an accepted finding is known", "[drift]") {
  DriftFleet fleet(6);
  auto clean = fleet.ripcord({"drift"});
  CHECK(clean.output.empty());  // cron mails whatever is printed
  CHECK(clean.exit == 0);
  CHECK(fleet.ripcord({"drift", "--full"}).output.empty());

  // h1: files, each in its own way
  struct stat st {};
  ::stat(fleet.at(1, "lib/a").c_str(), &st);
  int fd = ::open(fleet.at(1, "lib/a").c_str(), O_WRONLY);
  CHECK(::pwrite(fd, "aaab", 4, 0) == 4);
  ::close(fd);
  timespec times[2] = {st.st_atim, st.st_mtim};
  ::utimensat(AT_FDCWD, fleet.at(1, "lib/a").c_str(), times, 0);
  ::chmod(fleet.at(1, "lib/b").c_str(), 0666);
  CHECK(::chown(fleet.at(1, "lib/c").c_str(), 1, 1) == 0);
  ::unlink(fleet.at(1, "lib/d").c_str());
  put(fleet.at(1, "lib/new"), "x");
  ::unlink(fleet.at(1, "lib/link").c_str());
  CHECK(::symlink("b", fleet.at(1, "lib/link").c_str()) == 0);
  ::unlink(fleet.at(1, "lib/e").c_str());
  ::mkdir(fleet.at(1, "lib/e").c_str(), 0755);
  const unsigned char power[20] = {1, 0, 0, 2, 0, 4};
  bool powers = ::setxattr(fleet.at(1, "lib/f").c_str(), "security.capability", power, sizeof power, 0) == 0;
  put(fleet.hosts.seen(1, "/etc/app/extra.conf"), "level = 9\napi_token = swordfish\n");  // of a file placed elsewhere: bytes and mode
  // h2: the link moved by hand, the way back damaged
  auto releases = fleet.hosts.seen(2, "/srv/web/releases");
  std::string old;
  for (const auto& e : fs::directory_iterator(releases))
    if (auto name = e.path().filename().string(); name.starts_with("1.0-")) old = name;
  put(releases + "/" + old + "/lib/a", "AAAA");
  ::unlink(fleet.hosts.seen(2, "/srv/web/current").c_str());
  CHECK(::symlink(("releases/" + old).c_str(), fleet.hosts.seen(2, "/srv/web/current").c_str()) == 0);
  // h3: no process; a unit that nobody deployed
  for (pid_t pid : fleet.hosts.processes(3))
    if (read_link(fmt::format("/proc/{}/exe", pid)).value_or("").starts_with("/srv/")) ::kill(pid, SIGKILL);
  fs::create_directories(fleet.hosts.seen(3, "/srv/miner/releases/9.9-0123456789ab"));
  // h4: the journal
  auto journal = fleet.hosts.seen(4, "/var/lib/ripcord/units/web/journal");
  auto text = read_file(journal);
  text[text.size() / 3] ^= 1;
  put(journal, text);
  // h5: the helper, and a program replaced under its process
  for (const auto& e : fs::directory_iterator(fleet.hosts.seen(5, "/var/lib/ripcord/helper"))) {
    auto path = e.path().string() + "/ripcord-host";
    auto bytes = read_file(path);
    write_file_durable(path, bytes + "!", 0700);
  }
  auto program = fleet.at(5, "bin/sample-service");
  write_file_durable(program, read_file(program), 0755);
  // h6: the cord, pulled from a machine whose ledger is another one
  auto elsewhere = fleet.second_folder();
  REQUIRE(fleet.ripcord({"rollback", "web", "--to", "1.0", "--limit", "host=h6", "-y", "-m", "INC-7"}, elsewhere).exit == 0);

  auto o = fleet.scan();
  INFO(json::serialize(o));
  CHECK(get_int(o, "exit") == 2);
  std::vector<std::string> expected{"h1 changed lib/a",
                                    "h1 changed /etc/app/extra.conf",
                                    "h1 extra lib/new",
                                    "h1 link lib/link",
                                    "h1 missing lib/d",
                                    "h1 mode /etc/app/extra.conf",
                                    "h1 mode lib/b",
                                    "h1 owner lib/c",
                                    "h1 type lib/e",
                                    "h2 current /srv/web/current",
                                    "h2 way_back lib/a",
                                    "h3 foreign_unit /srv/miner",
                                    "h3 not_running",
                                    "h4 journal /var/lib/ripcord/units/web/journal",
                                    "h5 deleted_binary",
                                    "h6 wrong_release"};
  if (powers) expected.push_back("h1 xattr lib/f");
  for (const auto& e : fs::directory_iterator(fleet.hosts.seen(5, "/var/lib/ripcord/helper")))
    expected.push_back("h5 helper /var/lib/ripcord/helper/" + e.path().filename().string() + "/ripcord-host");
  std::sort(expected.begin(), expected.end());
  CHECK(DriftFleet::found(o) == join(expected, "\n"));
  for (const auto& v : get_array(o, "findings")) CHECK(get_string(v.as_object(), "cause") == "unaudited");
  CHECK(DriftFleet::found(fleet.scan({"--full"})) == join(expected, "\n"));
  CHECK(fleet.scan({"--new"}).at("findings").as_array().empty());

  auto said = fleet.ripcord({"drift", "--limit", "host=h6"}).output;
  INFO(said);
  CHECK(said.find("its journal says: rolled back by ana, \"INC-7\"") != said.npos);
  CHECK(said.find("first seen ") != said.npos);
  said = fleet.ripcord({"drift", "--limit", "host=h1"}).output;
  INFO(said);
  CHECK(said.find("unaudited change; first seen ") != said.npos);
  CHECK(said.find("owner root, changed ") != said.npos);
  said = fleet.ripcord({"drift", "--limit", "host=h1", "--diff"}).output;
  CHECK(said.find("            -level = 1\n            +level = 9\n            +api_token = ***\n") != said.npos);
  CHECK(fleet.ripcord({"history", "--all"}).output.find("drift found on h1, h2, h3, h4, h5, h6") != std::string::npos);

  // Somebody wants one of them, for a while.
  std::string id;
  for (const auto& v : get_array(o, "findings"))
    if (get_string(v.as_object(), "host") == "h6") id = get_string(v.as_object(), "id");
  CHECK(fleet.ripcord({"drift", "accept", id, "-m", "INC-7"}).exit == 64);
  CHECK(fleet.ripcord({"drift", "accept", "00000000", "--until", "2099-01-01", "-m", "INC-7"}).exit == 8);
  CHECK(fleet.ripcord({"drift", "accept", id, "--until", "2099-01-01", "-m", "INC-7"}).exit == 0);
  CHECK(fleet.ripcord({"drift", "--limit", "host=h6"}).exit == 0);
  said = fleet.ripcord({"drift", "--limit", "host=h6", "--all"}).output;
  CHECK(said.find("known: accepted by ana until 2099-01-01: INC-7") != said.npos);
  CHECK(fleet.ripcord({"drift", "accept", id, "--until", "2020-01-01", "-m", "no more"}).exit == 0);
  CHECK(fleet.ripcord({"drift", "--limit", "host=h6"}).output.find("the acceptance by ana ended on 2020-01-01") != std::string::npos);

  // What is put right is gone again; who does not answer is not clean.
  put(fleet.at(1, "lib/a"), "aaaa");
  fleet.hosts.kill(3);
  o = fleet.scan();
  CHECK(get_int(o, "exit") == 4);
  CHECK(DriftFleet::state(o, "h3") == "unreachable");
  CHECK(DriftFleet::found(o).find("h1 changed lib/a") == std::string::npos);
  REQUIRE(get_array(o, "gone").size() == 1);
  CHECK(get_string(get_array(o, "gone")[0].as_object(), "path") == "lib/a");
  said = fleet.ripcord({"drift", "-o", "nagios"}).output;
  CHECK(said.starts_with("DRIFT CRITICAL - 5 of 6 hosts differ, 1 did not answer; first: h1 web changed /etc/app/extra.conf | hosts=6 drifted=5 unreachable=1 "));
  said = fleet.ripcord({"drift", "-o", "nagios", "--limit", "host=h3"}).output;
  CHECK(said.starts_with("DRIFT WARNING - 0 of 1 host differ, 1 did not answer |"));
}

TEST_CASE("a scan during a rollout reports no drift, and nobody ever reads half of its textfile", "[drift]") {
  DriftFleet fleet(6);
  fleet.write_plan("unit: web\nstages:\n  - {name: all, hosts: rest, max_parallel: 1, slow_start: false}\nwindow: none\n");
  fleet.write_unit("1.2", web("1.2"));
  auto metrics = fleet.folder() + "/drift.prom";
  std::atomic<bool> over{false};
  std::atomic<int> read{0}, halves{0};
  std::thread reader([&] {
    while (!over) {
      auto text = read_file_if_exists(metrics);
      if (!text) continue;
      ++read;
      if (!text->starts_with("# HELP ripcord_drift_hosts ") || text->find("ripcord_drift_last_scan_exit_code{fleet=\"test\"} ") == std::string::npos || text->back() != '\n') ++halves;
    }
  });
  auto apply = fleet.start({"apply", "1.2/", "-y"}, "apply.log");
  int scans = 0, during = 0;
  std::string wrong;
  for (bool running = true; running; ++scans) {
    running = ::kill(apply.pid, 0) == 0 && !reap(apply.pid);
    auto r = fleet.ripcord({"drift", "--textfile", "drift.prom"});
    if (r.exit != 0 || !r.output.empty()) wrong += fmt::format("{}: {}\n", r.exit, r.output);
    during += running;
  }
  over = true;
  reader.join();
  INFO(fleet.output("apply.log"));
  CHECK(wrong.empty());
  CHECK(during >= 1);
  CHECK(read > 0);
  CHECK(halves == 0);
  struct stat st {};
  REQUIRE(::stat(metrics.c_str(), &st) == 0);
  CHECK((st.st_mode & 07777) == 0644);
  CHECK(fleet.all_run("1.2"));
  CHECK(fleet.ripcord({"drift", "--full"}).output.empty());
  CHECK(read_file(metrics).find("ripcord_drift_hosts{fleet=\"test\",state=\"clean\"} 6\n") != std::string::npos);
  if (exists("/usr/bin/promtool")) {
    Command c;
    c.argv = {"promtool", "check", "metrics"};
    c.input = read_file(metrics);
    auto checked = run_process(c, Millis(10000));
    INFO(checked.output);
    CHECK(checked.exit == 0);
    CHECK(checked.output.empty());
  }
}

TEST_CASE("one scan at a time; options that make no sense are refused; what persists alerts", "[drift]") {
  DriftFleet fleet(1);
  {
    Fd held = open_file(fleet.folder() + "/.ripcord/drift.lock", O_RDWR | O_CREAT);
    write_all(held.get(), "process 7 of bob on ops-2\n", "");
    REQUIRE(::flock(held.get(), LOCK_EX) == 0);
    auto r = fleet.ripcord({"drift"});
    CHECK(r.exit == 7);
    CHECK(r.output.find("another drift scan of fleet 'test' is still running: process 7 of bob on ops-2") != std::string::npos);
  }
  CHECK(fleet.ripcord({"drift", "--splay", "20ms", "--max-rate", "64MiB", "--threads", "2", "--normal-priority", "--full"}).exit == 0);
  CHECK(fleet.ripcord({"drift", "--splay", "soon"}).exit == 64);
  CHECK(fleet.ripcord({"drift", "--max-rate", "fast"}).exit == 64);
  CHECK(fleet.ripcord({"drift", "--persist", "3/2"}).exit == 64);
  CHECK(fleet.ripcord({"drift", "rapair"}).exit == 64);
  CHECK(fleet.ripcord({"drift", "--unit", "nobody"}).exit == 8);

  put(fleet.at(1, "lib/a"), "tampered");
  CHECK(fleet.ripcord({"drift", "--persist", "2 of 3"}).output.empty());
  auto second = fleet.ripcord({"drift", "--persist", "2 of 3"});
  CHECK(second.exit == 2);
  put(fleet.at(1, "lib/a"), "aaaa");
  CHECK(fleet.ripcord({"drift", "--persist", "2 of 3"}).output.empty());  // not there now, and twice in the last three: not gone either
  auto gone = fleet.ripcord({"drift", "--persist", "2 of 3"});
  CHECK(gone.exit == 0);
  CHECK(gone.output.find("gone again: h1 web changed lib/a") != std::string::npos);
  CHECK(fleet.ripcord({"drift", "--persist", "2 of 3"}).output.empty());

  int scans = long_campaign() ? 1000 : 4;
  for (int i = 0; i < scans; ++i) {
    auto r = fleet.ripcord({"drift", "--limit", "host=h1"});
    INFO(i << ": " << r.output);
    REQUIRE(r.exit == 0);
    REQUIRE(r.output.empty());
  }
}

TEST_CASE("drift repair brings hosts back as a rollout would, keeps what was edited, and leaves the way back what it was", "[drift]") {
  DriftFleet fleet(3);
  auto kept = [&](int i) {
    std::vector<std::string> out;
    for (const auto& e : fs::directory_iterator(fleet.hosts.seen(i, "/srv/web/releases")))
      if (e.path().filename().string().starts_with(".damaged-")) out.push_back(e.path().string());
    return out;
  };
  put(fleet.at(1, "lib/a"), "a hot fix");
  put(fleet.hosts.seen(1, "/etc/app/extra.conf"), "level = 9\n");
  for (pid_t pid : fleet.hosts.processes(2))
    if (read_link(fmt::format("/proc/{}/exe", pid)).value_or("").starts_with("/srv/")) ::kill(pid, SIGKILL);
  std::string old;
  for (const auto& e : fs::directory_iterator(fleet.hosts.seen(3, "/srv/web/releases")))
    if (e.path().filename().string().starts_with("1.0-")) old = e.path().string();
  ::unlink((old + "/lib/b").c_str());
  auto said = fleet.ripcord({"drift"}).output;
  INFO(said);
  CHECK(said.find("web: 2 of 3 hosts can go back now, to 1.0, in about ") != said.npos);
  CHECK(said.find("; 1 damaged\n") != said.npos);
  CHECK(fleet.ripcord({"doctor", "--rollback"}).output.find("2 of 3 hosts can go back now, to 1.0, in about ") != std::string::npos);  // the same words

  CHECK(fleet.ripcord({"drift", "repair"}).exit == 8);  // nobody said yes
  CHECK(fleet.ripcord({"drift", "repair", "h7", "-y"}).exit == 8);
  auto repaired = fleet.ripcord({"drift", "repair", "-y", "-m", "INC-9"});
  INFO(repaired.output);
  CHECK(repaired.exit == 0);
  CHECK(fleet.ripcord({"drift", "--full"}).output.empty());
  CHECK(fleet.all_run("1.1"));
  REQUIRE(kept(1).size() == 1);
  CHECK(read_file(kept(1)[0] + "/lib/a") == "a hot fix");
  CHECK(repaired.output.find("what was there is kept in /srv/web/releases/.damaged-1.1-") != std::string::npos);
  CHECK(kept(3).size() == 1);
  CHECK(fleet.count(3, "ACTIVATED") == 2);  // its way back was staged again, nothing was restarted
  CHECK(fleet.count(2, "ACTIVATED") == 3);
  auto history = fleet.ripcord({"history"}).output;
  INFO(history);
  CHECK(history.find("repair of h1, h2, h3") != history.npos);
  CHECK(fleet.ripcord({"drift", "repair", "-y"}).exit == 0);  // nothing left to do

  SECTION("the cord goes where it would have gone before") {
    auto back = fleet.ripcord({"rollback", "web", "-y"});
    INFO(back.output);
    CHECK(back.exit == 0);
    CHECK(fleet.all_run("1.0"));
  }
  SECTION("a hot-fixed file and the next rollout: refused, or set aside as evidence") {
    put(fleet.at(2, "lib/c"), "another hot fix");
    fleet.write_unit("1.2", web("1.2"));
    auto refused = fleet.ripcord({"apply", "1.2/", "-y"});
    CHECK(refused.exit == 8);
    CHECK(refused.output.find("`on_drift: set_aside` in the plan would") != std::string::npos);
    fleet.write_plan("unit: web\nstages:\n  - {name: all, hosts: rest, slow_start: false}\nwindow: none\non_drift: set_aside\n");
    auto applied = fleet.ripcord({"apply", "1.2/", "-y"});
    INFO(applied.output);
    CHECK(applied.exit == 0);
    CHECK(fleet.all_run("1.2"));
    REQUIRE(kept(2).size() == 1);
    CHECK(read_file(kept(2)[0] + "/lib/c") == "another hot fix");
    CHECK(fleet.ripcord({"drift", "--full"}).output.empty());
  }
}
