// Drift on real hosts: what was tampered with is found and named, what is as it should be is silent.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "tests/fleet/drift_fleet.hpp"

using namespace ripcord;
using namespace ripcord::test;
namespace fs = std::filesystem;

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
  put(fleet.at(1, "lib/g"), "longer than it was");
  fs::remove_all(fleet.at(1, "lib/sub"));
  put(fleet.at(1, "lib/sub"), "hhhh");
  ::unlink(fleet.at(1, "lib/link").c_str());
  CHECK(::symlink("b", fleet.at(1, "lib/link").c_str()) == 0);
  ::unlink(fleet.at(1, "lib/e").c_str());
  ::mkdir(fleet.at(1, "lib/e").c_str(), 0755);
  const unsigned char power[20] = {1, 0, 0, 2, 0, 4};
  bool powers = ::setxattr(fleet.at(1, "lib/f").c_str(), "security.capability", power, sizeof power, 0) == 0;
  put(fleet.hosts.seen(1, "/etc/app/extra.conf"), "level = 9\napi_token = swordfish\n");  // of a file placed elsewhere: bytes and mode
  // h2: the link moved by hand, the way back damaged
  auto old = fs::path(fleet.release(2, "1.0")).filename().string();
  put(fleet.release(2, "1.0") + "/lib/a", "AAAA");
  ::unlink(fleet.hosts.seen(2, "/srv/web/current").c_str());
  CHECK(::symlink(("releases/" + old).c_str(), fleet.hosts.seen(2, "/srv/web/current").c_str()) == 0);
  // h3: no process; a unit that nobody deployed
  fleet.end_service(3);
  fs::create_directories(fleet.hosts.seen(3, "/srv/miner/releases/9.9-0123456789ab"));
  // h4: the journal
  auto journal = fleet.hosts.seen(4, "/var/lib/ripcord/units/web/journal");
  auto text = read_file(journal);
  text[text.size() / 3] ^= 1;
  put(journal, text);
  // h5: the helper, a program replaced under its process, and a process that was left over from the release before
  for (const auto& e : fs::directory_iterator(fleet.hosts.seen(5, "/var/lib/ripcord/helper"))) {
    auto path = e.path().string() + "/ripcord-host";
    auto bytes = read_file(path);
    write_file_durable(path, bytes + "!", 0700);
  }
  auto program = fleet.at(5, "bin/sample-service");
  write_file_durable(program, read_file(program), 0755);
  fleet.run_on(5, "cd /srv/web/releases/1.0-*/ && exec sleep 300");
  // h6: the cord, pulled from a machine whose ledger is another one
  auto elsewhere = fleet.second_folder();
  REQUIRE(fleet.ripcord({"rollback", "web", "--to", "1.0", "--limit", "host=h6", "-y", "-m", "INC-7"}, elsewhere).exit == 0);

  auto o = fleet.scan();
  INFO(json::serialize(o));
  CHECK(get_int(o, "exit") == 2);
  std::vector<std::string> expected{"h1 changed lib/a",
                                    "h1 changed /etc/app/extra.conf",
                                    "h1 changed lib/g",
                                    "h1 extra lib/new",
                                    "h1 link lib/link",
                                    "h1 missing lib/d",
                                    "h1 mode /etc/app/extra.conf",
                                    "h1 mode lib/b",
                                    "h1 owner lib/c",
                                    "h1 type lib/e",
                                    "h1 type lib/sub",
                                    "h2 current /srv/web/current",
                                    "h2 way_back lib/a",
                                    "h3 foreign_unit /srv/miner",
                                    "h3 not_running",
                                    "h4 journal /var/lib/ripcord/units/web/journal",
                                    "h5 deleted_binary",
                                    "h5 other_release",
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

TEST_CASE("a service's process that is older than the last switch was not restarted", "[drift]") {
  DriftFleet fleet(1, true);
  // It was started by hand, before the switch, from the release that is switched to once more.
  fleet.run_on(1, "cd /srv/web/current/ && echo $$ >/srv/web/shared/pid/by-hand && exec sleep 300");
  fleet.end_service(1);
  auto repaired = fleet.ripcord({"drift", "repair", "-y"});
  INFO(repaired.output);
  REQUIRE(repaired.exit == 0);
  CHECK(fleet.scan().at("findings").as_array().empty());
  put(fleet.hosts.seen(1, "/srv/web/shared/pid/web"), read_file(fleet.hosts.seen(1, "/srv/web/shared/pid/by-hand")));
  auto o = fleet.scan();
  INFO(json::serialize(o));
  CHECK(DriftFleet::found(o) == "h1 not_restarted");
}

TEST_CASE("a host whose clock is far off is told by how much", "[drift]") {
  DriftFleet fleet(1, true);
  auto scan_with_clock = [&](int seconds) {  // of the controller: it is the difference that counts
    auto c = fleet.command({"drift", "-o", "json", "-q"});
    for (std::string more : {"LD_PRELOAD=" RIPCORD_BUILD_DIR "/tests/shifted-clock.so", "ASAN_OPTIONS=verify_asan_link_order=0"}) c.env->push_back(more);
    c.env->push_back(fmt::format("SHIFTED_CLOCK_SECONDS={}", seconds));
    auto r = run_process(c, Millis(60000), 1u << 20);
    INFO(r.output);
    auto o = parse_json_object(r.output, "drift");
    CHECK(r.exit == (o.at("findings").as_array().empty() ? 0 : 2));
    std::string found = DriftFleet::found(o);
    for (const auto& v : get_array(o, "findings")) found += ": " + get_string(v.as_object(), "detail").substr(0, 4);
    return found;
  };
  CHECK(scan_with_clock(20).empty());  // seconds are nothing
  CHECK(scan_with_clock(7200 + 30) == "h1 clock: 2h b");
  CHECK(scan_with_clock(-7200 - 30) == "h1 clock: 2h a");
}
