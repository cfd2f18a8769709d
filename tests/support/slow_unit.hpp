// A unit whose restart takes a while and is counted, and questions about it: for tests of what happens in the middle of a restart.
#pragma once
#include <fmt/format.h>
#include <signal.h>

#include "core/base/clock.hpp"
#include "core/base/files.hpp"
#include "tests/support/campaign.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/fleet_run.hpp"

namespace ripcord::test {

// restart: what its start script sleeps; deadline: of that script, and so a part of T.
inline void write_slow(const FleetRun& fleet, const std::string& version, const std::string& restart, const std::string& healthy = "100ms",
                       const std::string& deadline = long_campaign() ? "30s" : "5s") {
  WebUnit unit;
  unit.version = version;
  unit.by_action = true;
  unit.health = "  interval: 100ms\n  min_healthy_time: " + healthy + "\n  healthy_deadline: 5s\n";
  const std::string folder = "web-" + version;
  fleet.write_unit(folder, unit);
  auto yaml = read_file(fleet.folder() + "/" + folder + "/unit.yaml");
  yaml.replace(yaml.find("deadline: 3s"), 12, "deadline: " + deadline);
  fleet.write(folder + "/unit.yaml", yaml);
  fleet.write(folder + "/code/bin/start",
              "#!/bin/sh\necho \"$RIPCORD_VERSION\" >> \"$RIPCORD_SHARED/pid/starts\"\nsleep " + restart +
                  "\nsetsid bin/sample-service --config config/app.conf </dev/null >/dev/null 2>&1 &\n",
              0755);
}

inline int starts(const FleetRun& fleet, int i, const std::string& version) {
  int n = 0;
  for (const auto& line : split(read_file_if_exists(fleet.hosts.seen(i, "/srv/web/shared/pid/starts")).value_or(""), '\n')) n += line == version;
  return n;
}

inline std::vector<std::string> apply_words(const std::string& version, const std::string& before) {
  std::vector<std::string> words{"apply", "web-" + version + "/", "-y"};
  if (!before.empty()) words.insert(words.end(), {"--unproven", before, "-m", "its way back is tested elsewhere"});
  return words;
}

// Activations of that version, by the journal: each restarts once, whoever asks again.
inline int activated(const FleetRun& fleet, int i, const std::string& version) {
  int n = 0;
  std::string op;
  for (const auto& r : fleet.journal(i)) {
    if (get_string(r, "kind") == "INTENT" && get_string(get_object(r, "to"), "version") == version) op = get_string(r, "op");
    n += get_string(r, "kind") == "ACTIVATED" && get_string(r, "op") == op;
  }
  return n;
}

// Every sshd of the host but the one that listens, which stands still until it is told to go on: it is the host's first process.
inline int kill_sshd(const FleetRun& fleet, int i) {
  ::kill(fleet.hosts.init(i), SIGSTOP);
  int killed = 0;
  for (pid_t pid : fleet.hosts.processes(i))
    if (pid != fleet.hosts.init(i) && trim(read_file_if_exists(fmt::format("/proc/{}/comm", pid)).value_or("")) == "sshd") killed += ::kill(pid, SIGKILL) == 0;
  return killed;
}
inline void revive_sshd(const FleetRun& fleet, int i) { ::kill(fleet.hosts.init(i), SIGCONT); }

}  // namespace ripcord::test
