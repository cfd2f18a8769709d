// A local fleet whose hosts go away, come back, and are installed again; commands are checked for their exit codes.
#pragma once
#include <signal.h>

#include <filesystem>

#include "tests/support/catch.hpp"
#include "tests/support/local_run.hpp"

namespace ripcord::test {

inline bool says(const RunResult& run, const std::string& text) { return run.output.find(text) != run.output.npos; }

// Processes that work below a folder.
inline std::vector<int> services_below(const std::string& folder) {
  std::vector<int> pids;
  std::error_code gone;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", gone)) {
    auto pid = entry.path().filename().string();
    if (pid.find_first_not_of("0123456789") != pid.npos) continue;
    if (std::filesystem::read_symlink(entry.path() / "cwd", gone).string().starts_with(folder + "/")) pids.push_back(std::stoi(pid));
  }
  return pids;
}

struct OwedFleet : LocalRun {
  using LocalRun::LocalRun;
  // All hosts at once, on the last of these versions; each was rolled out in turn.
  OwedFleet(int hosts, std::vector<std::string> versions) : LocalRun(hosts, hosts, Millis(50)) {
    for (const auto& version : versions) {
      write_unit(version);
      done({"apply", "app-" + version + "/", "-y", "-q"});
    }
  }
  RunResult done(std::vector<std::string> words, int exit = 0, const std::string& cwd = "") const {
    auto r = ripcord(std::move(words), cwd);
    INFO(r.output);
    CHECK(r.exit == exit);
    return r;
  }
  std::string host(const std::string& name) const { return folder() + "/hosts/" + name; }
  // Nobody gets to the host's folder; its services go on.
  void take_down(const std::string& name) const {
    std::filesystem::rename(host(name), folder() + "/away-" + name);
    write("hosts/" + name, "no folder");
  }
  void bring_back(const std::string& name) const {
    std::filesystem::remove(host(name));
    std::filesystem::rename(folder() + "/away-" + name, host(name));
  }
  void kill_services(const std::string& name) const {
    for (int pid : services_below(host(name))) ::kill(pid, SIGKILL);
  }
};

}  // namespace ripcord::test
