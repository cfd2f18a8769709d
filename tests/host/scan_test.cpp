#include "manifests/host/scan.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utmp.h>

#include <cstring>
#include <filesystem>
#include <thread>

#include "core/base/process.hpp"
#include "manifests/host/lock.hpp"
#include "manifests/host/low_priority.hpp"
#include "tests/host/scan_fixture.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;
using namespace ripcord::test;

TEST_CASE("an untouched unit has no finding, and a scan writes nothing to it", "[scan]") {
  ScanHost h;
  auto unit = files_state(h.unit().unit_root), etc = files_state(h.dir / "etc");
  for (bool full : {false, true, false}) {
    auto s = h.look(full);
    CHECK(ScanHost::text(s).empty());
    CHECK(s.intended == h.second);
    CHECK(s.running == h.second);
    CHECK(s.way_back == h.first);
    CHECK(s.back_state == "verified");
    CHECK_FALSE(s.in_motion);
    CHECK(s.files > 8);
  }
  CHECK(files_state(h.unit().unit_root) == unit);
  CHECK(files_state(h.dir / "etc") == etc);
  auto report = scan(h.host, h.request());
  CHECK(report.others.empty());
  CHECK(report.findings.empty());
  CHECK(report.logins.empty());
}

TEST_CASE("files: every way to tamper with them has its name, in both modes", "[scan]") {
  ScanHost h;
  bool full = GENERATE(false, true);
  SECTION("bytes") {
    put(h.at("lib/a"), "tampered");
    CHECK(h.found(full) == "changed lib/a");
  }
  SECTION("bytes, same size and same times of modification") {
    struct stat st {};
    ::stat(h.at("lib/b").c_str(), &st);
    put(h.at("lib/b"), "bbbc");
    timespec times[2] = {st.st_atim, st.st_mtim};
    REQUIRE(::utimensat(AT_FDCWD, h.at("lib/b").c_str(), times, 0) == 0);
    CHECK(h.found(full) == "changed lib/b");
  }
  SECTION("mode, owner") {
    ::chmod(h.at("lib/a").c_str(), 0666);
    CHECK(::chown(h.at("lib/b").c_str(), 7, 8) == 0);
    auto s = h.look(full);
    CHECK(ScanHost::text(s) == "mode lib/a\nowner lib/b");
    CHECK(s.findings.at(1).detail.find("found 7:8") != std::string::npos);
    CHECK(s.findings.at(0).owner == "root");
    CHECK(s.findings.at(0).ctime_ms > wall_now().ms - 60000);
  }
  SECTION("missing, extra, link") {
    ::unlink(h.at("lib/b").c_str());
    put(h.at("lib/c"), "new");
    ::unlink(h.at("lib/link").c_str());
    CHECK(::symlink("/etc/passwd", h.at("lib/link").c_str()) == 0);
    CHECK(h.found(full) == "extra lib/c\nlink lib/link\nmissing lib/b");
  }
  SECTION("a file becomes a folder, a folder a file") {
    ::unlink(h.at("lib/b").c_str());
    ::mkdir(h.at("lib/b").c_str(), 0755);
    std::filesystem::remove_all(h.at("config"));
    put(h.at("config"), "");
    CHECK(h.found(full) == "type config\ntype lib/b");
  }
  SECTION("a file gets powers") {
    // cap_net_bind_service, as setcap writes it
    const unsigned char power[20] = {1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    if (::setxattr(h.at("bin/serve").c_str(), "security.capability", power, sizeof power, 0) != 0) {
      WARN("skipped: no file capabilities here");
      return;
    }
    CHECK(h.found(full) == "xattr bin/serve");
  }
  SECTION("placed files") {
    put(h.dir / "etc/app.conf", "level = 9.9\n");
    CHECK(h.found(full) == "changed " + h.dir / "etc/app.conf");
    ::chmod((h.dir / "etc/app.conf").c_str(), 0777);
    CHECK(h.found(full) == "changed " + h.dir / "etc/app.conf" + "\nmode " + h.dir / "etc/app.conf");
    ::unlink((h.dir / "etc/app.conf").c_str());
    CHECK(h.found(full) == "missing " + h.dir / "etc/app.conf");
  }
  SECTION("the way back") {
    put(h.unit().release(h.first.folder()) + "/lib/a", "x");
    auto s = h.look(full);
    CHECK(ScanHost::text(s) == "way_back lib/a");
    CHECK(s.back_state == "damaged");
    CHECK(s.findings.at(0).detail == h.first.folder() + ": changed: expected 7 bytes, found 1");
    std::filesystem::remove_all(h.unit().release(h.first.folder()));
    s = h.look(full);
    CHECK(ScanHost::text(s) == "way_back .");
    CHECK(s.back_state == "missing");
  }
  SECTION("the way back's actions") {
    put(h.unit().metadata_of(h.first.folder()) + "/manifest", "nonsense");
    auto s = h.look(true);  // thousands of files have a long manifest: an incremental scan leaves it to the full one
    CHECK(ScanHost::text(s) == "way_back .");
    CHECK(s.back_state == "damaged");
  }
  SECTION("the way back, with the link moved by hand: found, and nothing would go there") {
    put(h.unit().release(h.first.folder()) + "/lib/a", "x");
    ::unlink(h.unit().current.c_str());
    REQUIRE(::symlink(UnitLayout::link_target(h.first.folder()).c_str(), h.unit().current.c_str()) == 0);
    auto s = h.look(full);
    CHECK(ScanHost::text(s) == "current " + h.unit().current + "\nway_back lib/a");
    CHECK(s.back_state == "none");
  }
  SECTION("the whole release") {
    std::filesystem::remove_all(h.unit().release(h.second.folder()));
    CHECK(h.found(full) == "missing .");
  }
  SECTION("what was noted about the release") {
    put(h.unit().metadata_of(h.second.folder()) + "/tree", "nonsense");
    CHECK(h.found(full) == "record .");
  }
}

TEST_CASE("the link, the processes, the journal, the helper", "[scan]") {
  ScanHost h;
  SECTION("current moved by hand") {
    h.point_current(h.first);
    auto s = h.look();
    CHECK(ScanHost::text(s) == "current " + h.unit().current);
    CHECK(s.findings.at(0).detail == "expected -> releases/" + h.second.folder() + ", found -> releases/" + h.first.folder());
    ::unlink(h.unit().current.c_str());
    CHECK(h.look().findings.at(0).detail == "expected -> releases/" + h.second.folder() + ", found nothing");
    ::mkdir(h.unit().current.c_str(), 0755);
    CHECK(h.look().findings.at(0).detail == "expected -> releases/" + h.second.folder() + ", found a folder");
  }
  SECTION("a service that is gone") {
    h.end_services();
    CHECK(h.found() == "not_running");
  }
  SECTION("a process of another release") {
    auto unit = h.unit();
    Command c;
    c.argv = {"/bin/sleep", "100"};
    c.cwd = unit.release(h.first.folder());
    auto stray = start_detached(c, "");
    auto s = h.look();
    CHECK(ScanHost::text(s) == "other_release");
    signal_group(stray.pid, SIGKILL);
    ::usleep(20000);
    reap(stray.pid);
    CHECK(h.found().empty());
  }
  SECTION("a journal with one bit turned") {
    auto text = text_of(h.unit().journal());
    text[text.size() / 2] ^= 1;
    put(h.unit().journal(), text);
    CHECK(h.found() == "journal " + h.unit().journal());
    ::unlink(h.unit().journal().c_str());
    CHECK(h.found() == "journal " + h.unit().journal());
  }
  SECTION("a helper that is not what its folder says") {
    auto folder = h.host.layout.helper() + "/" + sha256("the program").hex();
    h.dir.write(folder.substr(h.dir.path().size() + 1) + "/ripcord-host", "the program");
    CHECK(scan(h.host, h.request()).findings.empty());
    put(folder + "/ripcord-host", "the Program");
    auto report = scan(h.host, h.request());
    REQUIRE(report.findings.size() == 1);
    CHECK(report.findings[0].kind == "helper");
    CHECK(report.findings[0].path == folder + "/ripcord-host");
  }
  SECTION("units that nobody asked for") {
    h.deploy(sleeper("3.0"));
    h.dir.mkdir("srv/stray/releases/1.0-000000000000");
    h.dir.link("srv/other/current", "releases/x");
    h.dir.mkdir("srv/www/html");
    auto report = scan(h.host, {.units = {}, .roots = {"/srv"}});
    std::vector<std::string> names;
    for (const auto& o : report.others) names.push_back(o.unit);
    std::sort(names.begin(), names.end());
    CHECK(join(names, " ") == "other storefront stray");
  }
}

TEST_CASE("a binary replaced under its process, and a service that was not restarted after its configuration changed", "[scan]") {
  ActivationHost h;
  TestRelease r("1.0");
  r.file("code/bin/napper", read_file("/bin/sleep"), 0755).file("config/common/app.conf", "1");
  Service web;
  web.name = "web", web.run = {"bin/napper", "1000"}, web.on_config_change = "restart";
  r.manifest.spec.services = {web};
  r.manifest.spec.health.min_healthy_time = Millis(100);
  auto id = h.deploy(r);
  auto look = [&] { return ScanHost::text(scan(h.host, {.units = {h.ref()}}).units.at(0)); };
  CHECK(look().empty());
  auto path = h.unit().release(id.folder()) + "/bin/napper";
  h.dir.write(path.substr(h.dir.path().size() + 1) + ".new", read_file("/bin/sleep"), 0755);
  REQUIRE(::rename((path + ".new").c_str(), path.c_str()) == 0);
  CHECK(look() == "deleted_binary");

  // The note says that the service started before the switch: nobody restarted it.
  ActivationHost other;
  auto first = other.deploy(r);
  auto pid = other.service_pid();
  REQUIRE(pid);
  ::usleep(50000);
  auto second = other.stage(r);
  (void)second;
  UnitLock lock(other.host, other.unit(), "test");
  Journal journal(other.unit());
  journal.append(other.host, lock, "INTENT", {{"op", "by-hand"}, {"forward", true}, {"from", to_json(first)}, {"to", to_json(first)}, {"epoch", 1}, {"holder", "me"}});
  journal.append(other.host, lock, "ACTIVATED", {{"op", "by-hand"}, {"elapsed_us", boot_now().us + 20000}});
  journal.append(other.host, lock, "CONFIRMED", {{"op", "by-hand"}});
  CHECK(ScanHost::text(scan(other.host, {.units = {other.ref()}}).units.at(0)) == "not_restarted");
}

TEST_CASE("an operation that is open, or came in between, is told", "[scan]") {
  ScanHost h;
  UnitLock lock(h.host, h.unit(), "test");
  Journal(h.unit()).append(h.host, lock, "INTENT", {{"op", "open"}, {"forward", true}, {"from", to_json(h.second)}, {"to", to_json(h.first)}, {"epoch", 1}, {"holder", "me"}});
  h.end_services();
  auto s = h.look();
  CHECK(s.in_motion);
  CHECK(s.findings.empty());
  CHECK(s.last_op->op == "open");
}

TEST_CASE("a large tree is hashed by several threads, and by a rate that is kept", "[scan]") {
  ActivationHost h;
  TestRelease r("1.0");
  for (int i = 0; i < 12; ++i) r.file("code/f" + std::to_string(i), std::string(1 << 20, static_cast<char>('a' + i)));
  auto id = h.deploy(r);
  ScanRequest request{.units = {h.ref()}, .full = true, .threads = 4};
  CHECK(scan(h.host, request).units.at(0).findings.empty());
  put(h.unit().release(id.folder()) + "/f7", std::string(1 << 20, 'x'));
  CHECK(ScanHost::text(scan(h.host, request).units.at(0)) == "changed f7");
  request.max_rate = 24u << 20;  // 12 MiB: half a second
  auto begin = boot_now();
  scan(h.host, request);
  CHECK(boot_now() - begin >= Millis(450));
  h.host.peer_gone = [] { return true; };
  request.max_rate = 1u << 20;
  begin = boot_now();
  CHECK(refusal([&] { scan(h.host, request); }).code == "cancelled");
  CHECK(boot_now() - begin < Millis(5000));
}

TEST_CASE("the priority of a scan is its own: services started later do not inherit it", "[scan]") {
  int inside = 0, below = 0;
  with_low_priority(19, [&] {
    inside = ::getpriority(PRIO_PROCESS, 0);
    std::thread([&] { below = ::getpriority(PRIO_PROCESS, 0); }).join();
  });
  CHECK(inside == 19);
  CHECK(below == 19);
  CHECK(::getpriority(PRIO_PROCESS, 0) == 0);
  CHECK_THROWS_AS(with_low_priority(19, [] { throw Error("x"); }), Error);
}

TEST_CASE("the last log-ins are told with a finding, where they can be read", "[scan]") {
  ScanHost h;
  utmp records[3]{};
  for (int i = 0; i < 3; ++i) {
    records[i].ut_type = i == 1 ? DEAD_PROCESS : USER_PROCESS;
    std::memcpy(records[i].ut_user, i == 0 ? "ann" : "bob", 3);
    std::memcpy(records[i].ut_host, "10.0.0.9", 8);
    records[i].ut_tv.tv_sec = 1700000000 + i;
  }
  h.dir.write("var/log/wtmp", std::string(reinterpret_cast<const char*>(records), sizeof records));
  put(h.at("lib/a"), "x");
  auto logins = scan(h.host, h.request()).logins;
  REQUIRE(logins.size() == 2);
  CHECK(logins[0].user == "bob");
  CHECK(logins[0].from == "10.0.0.9");
  CHECK(logins[0].at_ms == 1700000002000);
  CHECK(logins[1].user == "ann");
}

TEST_CASE("scan messages survive the wire, and a host may not send what is too much", "[scan]") {
  ScanHost h;
  put(h.at("lib/a"), "x");
  auto report = scan(h.host, h.request());
  auto again = scan_report_from_json(parse_json_object(json::serialize(to_json(report)), "x"));
  CHECK(json::serialize(to_json(again)) == json::serialize(to_json(report)));
  CHECK(again.units.at(0).findings.size() == 1);
  report.units[0].findings.resize(kMaxScanFindings + 1, report.units[0].findings[0]);
  CHECK_THROWS_AS(scan_report_from_json(to_json(report)), Error);
  report.units[0].findings.resize(1);
  report.units[0].running->version = "../..";
  CHECK_THROWS_AS(scan_report_from_json(to_json(report)), Error);
}
