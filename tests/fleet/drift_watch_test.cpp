// Drift scans that run by themselves: beside rollouts, from cron, read by monitoring, a thousand times.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <array>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <map>
#include <random>
#include <thread>

#include "tests/fleet/drift_fleet.hpp"
#include "tests/support/campaign.hpp"

using namespace ripcord;
using namespace ripcord::test;
namespace fs = std::filesystem;

TEST_CASE("a scan during a rollout reports no drift, and nobody ever reads half of its textfile", "[drift]") {
  DriftFleet fleet(6);
  fleet.write_plan("unit: web\nstages:\n  - {name: all, hosts: rest, max_parallel: 1, slow_start: false}\nwindow: none\n");
  fleet.write_unit("1.2", drift_web("1.2"));
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
}

TEST_CASE("the documented lines for cron and systemd work with nothing around them: no PATH, no terminal, no agent, no home", "[drift]") {
  DriftFleet fleet(1);
  auto here = [&](std::string text) {  // as it would lie in the places that the examples name
    for (const auto& [from, to] : std::map<std::string, std::string>{{"/etc/ripcord", fleet.folder()},
                                                                      {"/usr/bin/ripcord", RIPCORD_BUILD_DIR "/ripcord"},
                                                                      {"/var/lib/prometheus/node-exporter", fleet.folder()},
                                                                      {"--splay 2m", "--splay 10ms"},
                                                                      {"--splay 1h", "--splay 10ms"}})
      for (auto at = text.find(from); at != text.npos; at = text.find(from, at + to.size())) text.replace(at, from.size(), to);
    return text;
  };
  std::vector<std::string> lines;
  for (const auto& line : split(read_file(RIPCORD_SOURCE_DIR "/docs/drift.md"), '\n')) {  // when, who, what: as in /etc/cron.d
    auto at = line.find("  ripcord  cd /etc/ripcord && ");
    if (at != line.npos) lines.push_back(here(line.substr(line.find("cd ", at))));
  }
  REQUIRE(lines.size() == 2);
  auto service = read_file(RIPCORD_SOURCE_DIR "/examples/systemd/ripcord-drift.service");
  auto start = service.find("\nExecStart=");
  REQUIRE(start != service.npos);
  start += std::string("\nExecStart=").size();
  lines.push_back("cd /; " + here(service.substr(start, service.find('\n', start) - start)));
  auto run = [&](const std::string& line) {
    Command c;
    c.argv = {"/bin/sh", "-c", line};
    c.cwd = "/";
    c.env = std::vector<std::string>{"PATH=/usr/bin:/bin"};
    return run_process(c, Millis(60000));
  };
  for (const auto& line : lines) {
    auto r = run(line);
    INFO(line << "\n" << r.output);
    CHECK(r.exit == 0);
    CHECK(r.output.empty());
  }
  CHECK(exists(fleet.folder() + "/ripcord_drift.prom"));
  put(fleet.at(1, "lib/a"), "changed by hand");
  auto r = run(lines[0]);
  INFO(r.output);
  CHECK(r.exit == 2);
  CHECK(r.output.find("changed        lib/a") != r.output.npos);
  CHECK(r.output.find('\x1b') == r.output.npos);

  if (!exists("/usr/bin/systemd-analyze")) return;
  fleet.write("ripcord-drift.service", here(service));
  fleet.write("ripcord-drift.timer", read_file(RIPCORD_SOURCE_DIR "/examples/systemd/ripcord-drift.timer"));
  Command verify;
  verify.argv = {"/usr/bin/systemd-analyze", "verify", fleet.folder() + "/ripcord-drift.service", fleet.folder() + "/ripcord-drift.timer"};
  auto verified = run_process(verify, Millis(30000));
  CHECK(verified.output == "");
  CHECK(verified.exit == 0);
}

TEST_CASE("scans of an untouched fleet find nothing, whatever the clocks of its files say, after rollouts and after rollbacks", "[drift]") {
  const int scans = long_campaign() ? 1000 : 20;
  DriftFleet fleet(long_campaign() ? 4 : 2);
  std::mt19937 random(20261121);
  auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  std::map<std::string, int> done;
  int minor = 1;
  auto succeed = [&](std::vector<std::string> words) {
    auto r = fleet.ripcord(std::move(words));
    INFO(r.output);
    REQUIRE(r.exit == 0);
  };
  auto disturb = [&](int i) {
    static const char* files[] = {"lib/a", "lib/b", "lib/sub/h", "bin/sample-service"};
    auto path = fleet.at(i, files[below(4)]);
    auto notes = fleet.hosts.seen(i, "/var/lib/ripcord/units/web/releases/" + fs::path(fleet.current(i)).filename().string() + "/stat");
    auto each_stat = [&](auto change) {  // 48 bytes of head, then size, mtime, ctime, inode, ... of each entry
      auto bytes = read_file(notes);
      for (std::size_t at = 48; at + 48 <= bytes.size(); at += 48) {
        std::array<std::uint64_t, 4> word;
        std::memcpy(word.data(), bytes.data() + at, sizeof word);
        change(word);
        std::memcpy(bytes.data() + at, word.data(), sizeof word);
      }
      write_file_durable(notes, bytes, 0600);
    };
    timespec times[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}};
    switch (below(6)) {
      case 0: ++done["mtime now"]; break;
      case 1: ++done["mtime long ago"], times[1] = {1, 0}; break;
      case 2: ++done["mtime in the future"], times[1] = {4102444800, 999999999}; break;
      case 3: ++done["notes in whole seconds"]; return each_stat([](auto& w) { w[1] -= w[1] % 1000000000, w[2] -= w[2] % 1000000000; });
      case 4: ++done["notes of an hour later"]; return each_stat([](auto& w) { w[1] += 3600000000000, w[2] += 3600000000000; });
      case 5: ++done["no notes"]; return void(::unlink(notes.c_str()));
    }
    REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
  };
  for (int n = 0; n < scans; ++n) {
    const char* after = "disturbed";
    if (n % 50 == 6) {
      auto version = fmt::format("1.{}", ++minor);
      fleet.write_unit(version, drift_web(version));
      succeed({"apply", version + "/", "-y", "--unproven", fleet.version(1), "-m", "campaign"});
      after = "after a rollout";
    } else if (n % 50 == 12) {
      succeed({"rollback", "web", "-y"});
      after = "after a rollback";
    } else if (n % 3 != 0) {
      disturb(1 + below(fleet.size()));
    } else {
      after = "untouched";
    }
    ++done[after];
    bool full = n % 4 == 1;
    ++done[full ? "full" : "incremental"];
    auto r = full ? fleet.ripcord({"drift", "--full", "--normal-priority"}) : fleet.ripcord({"drift"});
    INFO(n << " " << after << ": " << r.output);
    REQUIRE(r.exit == 0);
    REQUIRE(r.output.empty());
  }
  auto memory = parse_json_object(read_file(fleet.folder() + "/.ripcord/drift.json"), "drift.json");
  CHECK(get_array(memory, "findings").empty());
  std::string words;
  for (const auto& [what, count] : done) words += fmt::format(", {} {}", count, what);
  total(fmt::format("drift: {} scans of {} untouched hosts, 0 findings{}", scans, fleet.size(), words));
}
