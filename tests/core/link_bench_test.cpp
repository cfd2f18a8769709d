// Hidden: figures of the SSH link against real sshds on this machine, for docs/ssh.md. RIPCORD_BENCH_HOSTS (default 200), optimised
// build: test_core "[bench]".
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "core/base/text.hpp"
#include "tests/core/link_world.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

double cpu_ms() {
  rusage u{};
  ::getrusage(RUSAGE_SELF, &u);
  auto ms = [](timeval t) { return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_usec) / 1e3; };
  return ms(u.ru_utime) + ms(u.ru_stime);
}

double rss_mib() {
  auto fields = split(read_file("/proc/self/statm"), ' ');
  return std::atof(fields.at(1).c_str()) * 4096 / (1 << 20);
}

Task<> hold(Link& link, Clock& clock, HostAddress host, std::vector<std::unique_ptr<Channel>>& held) {
  auto channel = co_await link.open(host, "hello");
  co_await channel->read(clock.elapsed() + Millis(60000));
  held.push_back(std::move(channel));
}

}  // namespace

TEST_CASE("bench: sessions", "[.][bench]") {
  const char* wanted = std::getenv("RIPCORD_BENCH_HOSTS");
  SshdFleetOptions options;
  options.hosts = wanted ? std::atoi(wanted) : 200;
  SshWorld w(options);
  w.settings.timeouts = {Millis(60000), Millis(60000), Millis(60000), Millis(60000)};
  auto link = w.link();
  for (const char* what : {"first contact (push)", "connect + exec + one request", "again"}) {
    std::vector<Outcome> outs(static_cast<std::size_t>(options.hosts));
    double cpu = cpu_ms();
    Elapsed begun = boot_now();
    TaskGroup group(w.loop);
    for (int i = 1; i <= options.hosts; ++i) group.spawn(attempt(*link, w.clock, w.host(i), "hello", 5, outs[static_cast<std::size_t>(i - 1)]));
    run_to_end(w.loop, group.join());
    std::printf("%s: %d hosts, wall %s, our CPU %.2f ms a host\n", what, options.hosts, format_duration(boot_now() - begun).c_str(),
                (cpu_ms() - cpu) / options.hosts);
    for (const auto& out : outs) REQUIRE(name_of(out) == "no error: hello");
  }
  std::vector<std::int64_t> one;
  for (int i = 0; i < 21; ++i) {
    Elapsed begun = boot_now();
    REQUIRE(w.talk(*link, w.host(1 + i % options.hosts)).got == "hello");
    one.push_back(boot_now().us - begun.us);
  }
  std::sort(one.begin(), one.end());
  std::printf("one host alone: median %.1f ms\n", static_cast<double>(one[10]) / 1e3);

  int sessions = std::min(1000, options.hosts * 5);
  double before = rss_mib();
  std::vector<std::unique_ptr<Channel>> held;
  TaskGroup group(w.loop);
  for (int i = 0; i < sessions; ++i) group.spawn(hold(*link, w.clock, w.host(1 + i % options.hosts), held));
  run_to_end(w.loop, group.join());
  std::printf("%d sessions open: %.0f MiB resident, %.0f KiB each above the %.0f MiB before\n", sessions, rss_mib(),
              (rss_mib() - before) * 1024 / sessions, before);
  CHECK(rss_mib() < 100);
}
