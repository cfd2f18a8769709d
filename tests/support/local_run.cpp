#include "tests/support/local_run.hpp"

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "core/base/error.hpp"
#include "core/base/files.hpp"

namespace ripcord::test {
namespace {

namespace fs = std::filesystem;

// Services run from below the folder, and nobody else's do.
void end_below(const std::string& folder) {
  std::error_code gone;
  for (const auto& entry : fs::directory_iterator("/proc", gone)) {
    auto name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != name.npos) continue;
    if (fs::read_symlink(entry.path() / "cwd", gone).string().starts_with(folder + "/hosts/")) ::kill(std::stoi(name), SIGKILL);
  }
}

}  // namespace

LocalRun::LocalRun(int hosts, int max_parallel, Millis healthy) : healthy_(healthy) {
  for (int i = 1; i <= hosts; ++i) names_.push_back(fmt::format("n-{:03}", i));
  write_fleet(names_);
  write_plan(fmt::format("unit: app\nstages:\n  - {{name: all, hosts: rest, max_parallel: {}, slow_start: false}}\nmax_unreachable: 50%\n", max_parallel));
}

LocalRun::~LocalRun() { end_below(folder()); }

void LocalRun::write_fleet(const std::vector<std::string>& names) const {
  std::string text = "fleet: test\nlink: local\nlocal: {dir: " + folder() + "/hosts}\nledger: " + folder() + "/.ripcord/ledger.db\ndatacenters:\n";
  for (int dc = 0; dc < 2; ++dc) {
    std::string hosts;
    for (std::size_t i = static_cast<std::size_t>(dc); i < names.size(); i += 2) hosts += "      " + names[i] + ": {}\n";
    if (!hosts.empty()) text += fmt::format("  dc{}:\n    hosts:\n{}", dc + 1, hosts);
  }
  write("fleet.yaml", text);
}

void LocalRun::write_unit(const std::string& version, const std::string& more) const {
  auto at = "app-" + version;
  write(at + "/unit.yaml",
        fmt::format("unit: app\nversion: \"{}\"\nhosts: all\nservices:\n  - name: app\n    run: [bin/serve]\n    stop_deadline: 1s\n{}"
                    "health:\n  checks:\n    - command: [bin/check]\n  interval: 50ms\n  min_healthy_time: {}ms\n  healthy_deadline: 10s\n",
                    version, more, healthy_.count()));
  write(at + "/code/bin/serve", "#!/bin/sh\nexec sleep 100000\n", 0755);
  write(at + "/code/bin/check", "#!/bin/sh\nexit 0\n", 0755);
  write(at + "/config/common/app.conf", "version = " + version + "\n");
}

std::string LocalRun::second_machine() {
  second_.write("fleet.yaml", read_file(folder() + "/fleet.yaml"));
  second_.write("plans/app.yaml", read_file(folder() + "/plans/app.yaml"));
  return second_.path();
}

Command LocalRun::command(std::vector<std::string> words, const std::string& cwd) const {
  Command c;
  c.argv = std::move(words);
  c.argv.insert(c.argv.begin(), RIPCORD_BUILD_DIR "/ripcord");
  c.cwd = cwd.empty() ? folder() : cwd;
  c.env = std::vector<std::string>{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "HOME=" + folder(), cwd.empty() ? "RIPCORD_WHO=ana" : "RIPCORD_WHO=bob", "TZ=UTC"};
  return c;
}

RunResult LocalRun::ripcord(std::vector<std::string> words, const std::string& cwd, Millis deadline) const {
  return run_process(command(std::move(words), cwd), deadline, 1 << 20);
}

ProcessId LocalRun::start(std::vector<std::string> words, const std::string& log, const std::string& cwd) const {
  auto c = command(std::move(words), cwd);
  return start_detached(c, folder() + "/" + log);
}

ProcessEnd LocalRun::wait(const ProcessId& id, Millis deadline) {
  for (Elapsed until = boot_now() + deadline;; ::usleep(5000)) {
    if (auto end = reap(id.pid)) return *end;
    if (boot_now() > until) ::kill(id.pid, SIGKILL);
  }
}

std::string LocalRun::output(const std::string& log) const { return read_file_if_exists(folder() + "/" + log).value_or(""); }

std::string LocalRun::version(const std::string& host) const {
  auto name = fs::path(read_link(folder() + "/hosts/" + host + "/srv/app/current").value_or("")).filename().string();
  return name.substr(0, name.rfind('-'));
}

std::vector<json::object> LocalRun::journal(const std::string& host) const {
  std::vector<json::object> out;
  auto text = read_file_if_exists(folder() + "/hosts/" + host + "/var/lib/ripcord/units/app/journal").value_or("");
  text.resize(text.rfind('\n') == text.npos ? 0 : text.rfind('\n'));
  for (const auto& line : split(text, '\n'))
    if (!line.empty()) out.push_back(parse_json_object(line, "journal"));
  return out;
}

int LocalRun::count(const std::string& host, const std::string& kind) const {
  int n = 0;
  for (const auto& record : journal(host)) n += get_string(record, "kind") == kind;
  return n;
}

int LocalRun::count(const std::string& kind) const {
  int n = 0;
  for (const auto& host : names_) n += count(host, kind);
  return n;
}

std::string LocalRun::most_activated() const {
  for (const auto& host : names_) {
    std::set<std::string> seen;
    for (const auto& record : journal(host))
      if (get_string(record, "kind") == "ACTIVATED" && !seen.insert(get_string(record, "op")).second) return get_string(record, "op");
  }
  return "";
}

bool LocalRun::all_run(const std::string& wanted) const {
  return std::all_of(names_.begin(), names_.end(), [&](const std::string& host) { return version(host) == wanted; });
}

}  // namespace ripcord::test
