#include "manifests/host/running.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstdlib>
#include <memory>
#include <optional>

#include "core/base/digest.hpp"
#include "core/base/files.hpp"
#include "core/base/text.hpp"
#include "manifests/host/service.hpp"
#include "manifests/host/tcp_http.hpp"

namespace ripcord {
namespace {

constexpr std::string_view kDeleted = " (deleted)";

// Finds the release folder of a path, whichever way the releases folder is reached.
class Releases {
 public:
  explicit Releases(const UnitLayout& unit) : prefixes_{unit.releases + "/"} {
    std::unique_ptr<char, void (*)(void*)> real(::realpath(unit.releases.c_str(), nullptr), ::free);
    if (real && real.get() + std::string("/") != prefixes_[0]) prefixes_.push_back(real.get() + std::string("/"));
  }
  std::string folder_of(std::string_view path) const {
    for (const auto& p : prefixes_)
      if (path.substr(0, p.size()) == p) {
        auto rest = path.substr(p.size());
        if (auto end = rest.find('/'); end != std::string_view::npos) rest = rest.substr(0, end);
        if (rest.size() > kDeleted.size() && rest.substr(rest.size() - kDeleted.size()) == kDeleted)
          rest.remove_suffix(kDeleted.size());
        return std::string(rest);
      }
    return "";
  }

 private:
  std::vector<std::string> prefixes_;
};

std::string proc_link(pid_t pid, const char* name) {
  char path[48];
  snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
  std::array<char, PATH_MAX> buffer;
  ssize_t n = ::readlink(path, buffer.data(), buffer.size());
  return n > 0 ? std::string(buffer.data(), static_cast<std::size_t>(n)) : std::string();
}

// Release folders with a file that the process has mapped.
std::vector<std::string> mapped_folders(pid_t pid, const Releases& releases) {
  std::vector<std::string> out;
  try {
    auto maps = read_file_if_exists(fmt::format("/proc/{}/maps", pid), 32u << 20);
    if (!maps) return out;
    for (const auto& line : split(*maps, '\n')) {
      auto slash = line.find('/');
      if (slash == std::string::npos) continue;
      auto folder = releases.folder_of(std::string_view(line).substr(slash));
      if (!folder.empty() && std::find(out.begin(), out.end(), folder) == out.end()) out.push_back(folder);
    }
  } catch (const Error&) {  // not ours to read
  }
  return out;
}

bool has_terminal(pid_t pid) {
  try {
    auto stat = read_file_if_exists(fmt::format("/proc/{}/stat", pid), 4096);
    auto end = stat ? stat->rfind(')') : std::string::npos;
    int tty = 0;
    return end != std::string::npos && sscanf(stat->c_str() + end + 1, " %*c %*d %*d %*d %d", &tty) == 1 && tty != 0;
  } catch (const Error&) {
    return false;
  }
}

template <class Visit>
void each_pid(Visit visit) {
  std::unique_ptr<DIR, int (*)(DIR*)> proc(::opendir("/proc"), ::closedir);
  while (dirent* e = proc ? ::readdir(proc.get()) : nullptr)
    if (pid_t pid = static_cast<pid_t>(atoi(e->d_name)); pid > 0) visit(pid);
}

StepOutcome not_running(std::string why) { return StepOutcome::failed("running", std::move(why)); }

// Where one service process lies, and when it started; nullopt: as it should.
std::optional<std::string> misplaced(const ReleaseContext& release, const Service& service, const ProcessId& process,
                                     const Releases& releases, const RunningRule& rule) {
  std::string here = release.release.id.folder();
  std::string exe = proc_link(process.pid, "exe"), cwd = proc_link(process.pid, "cwd");
  std::vector<std::string> folders;
  for (const auto& path : {exe, cwd})
    if (auto f = releases.folder_of(path); !f.empty()) folders.push_back(f);
  auto lies_here = [&] { return std::find(folders.begin(), folders.end(), here) != folders.end(); };
  auto lies_well = [&] { return lies_here() || (!rule.restarted_all && !folders.empty()); };
  if (!lies_well())
    for (auto& f : mapped_folders(process.pid, releases)) folders.push_back(std::move(f));
  // An executable of another release is no proof of this one, even when its cwd says otherwise.
  if (rule.restarted_all && !releases.folder_of(exe).empty() && releases.folder_of(exe) != here)
    return fmt::format("process {} of service '{}' runs '{}', which lies in another release", process.pid, service.name, exe);
  if (!lies_well())
    return folders.empty() ? fmt::format("process {} of service '{}' does not run from '{}': its executable is '{}', its folder '{}', and it "
                                         "has no file of the release mapped",
                                         process.pid, service.name, here, exe.empty() ? "?" : exe, cwd.empty() ? "?" : cwd)
                           : fmt::format("process {} of service '{}' runs from '{}', not from '{}'", process.pid, service.name,
                                         folders.front(), here);
  if (rule.restarted_all && process.start < rule.not_before)
    return fmt::format("process {} of service '{}' started before the switch: it was not restarted", process.pid, service.name);
  return std::nullopt;
}

StepOutcome check_processes(const ReleaseContext& release, const RunningRule& rule) {
  Releases releases(release.unit);
  std::string here = release.release.id.folder();
  auto processes = unit_processes(release.unit);
  for (const auto& service : release.spec.services) {
    if (main_process_is_known(service)) {
      auto process = main_process(release, service);
      if (!process) return not_running(fmt::format("service '{}' has no running process", service.name));
      if (auto why = misplaced(release, service, *process, releases, rule)) return not_running(*why);
      continue;
    }
    bool found = std::any_of(processes.begin(), processes.end(), [&](const UnitProcess& p) {
      auto id = p.interactive ? std::nullopt : process_id(p.pid);
      return id && (p.folder == here || !rule.restarted_all) && (!rule.restarted_all || id->start >= rule.not_before);
    });
    if (!found)
      each_pid([&](pid_t pid) {  // an interpreter with cwd elsewhere: only its maps tell
        auto id = found ? std::nullopt : process_id(pid);
        if (!id || id->start < rule.not_before) return;
        auto folders = mapped_folders(pid, releases);
        found = std::find(folders.begin(), folders.end(), here) != folders.end();
      });
    if (!found)
      return not_running(fmt::format("no process of service '{}' runs from '{}' since the switch", service.name, here));
  }
  if (!rule.restarted_all) return {true, "running", ""};
  for (const auto& p : processes)
    if (p.folder != here && !(p.interactive && p.by == "cwd") && process_id(p.pid))
      return not_running(fmt::format("process {} still runs from '{}' (its {} is '{}')", p.pid, p.folder, p.by, p.path));
  return {true, "running", ""};
}

// Digest of what the process executes, when it has the expected size; unreadable or another size: none.
std::optional<Digest> exe_digest(pid_t pid, std::uint64_t size) {
  Fd fd(::open(fmt::format("/proc/{}/exe", pid).c_str(), O_RDONLY | O_CLOEXEC));
  struct stat st {};
  if (!fd || ::fstat(fd.get(), &st) != 0 || static_cast<std::uint64_t>(st.st_size) != size) return std::nullopt;
  Sha256 hash;
  std::vector<char> buffer(1 << 18);
  while (true) {
    ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n < 0) return std::nullopt;
    if (n == 0) return hash.finish();
    hash.update({buffer.data(), static_cast<std::size_t>(n)});
  }
}

StepOutcome check_exe(const ReleaseContext& release, const RunningRule& rule) {
  const auto& entries = release.release.tree.entries;
  auto entry = std::find_if(entries.begin(), entries.end(), [&](const TreeEntry& e) { return e.path == release.spec.running.exe; });
  if (entry == entries.end() || entry->kind != SourceEntry::Kind::file)
    return not_running(fmt::format("'{}' is no file of the release, so no process can be compared with it", release.spec.running.exe));
  for (const auto& service : release.spec.services) {
    bool found = false;
    if (main_process_is_known(service)) {
      auto process = main_process(release, service);
      if (!process) return not_running(fmt::format("service '{}' has no running process", service.name));
      if (exe_digest(process->pid, entry->size) != entry->digest)
        return not_running(fmt::format("process {} of service '{}' does not execute the content of '{}': its executable is '{}'",
                                       process->pid, service.name, entry->path, proc_link(process->pid, "exe")));
      if (rule.restarted_all && process->start < rule.not_before)
        return not_running(fmt::format("process {} of service '{}' started before the switch: it was not restarted", process->pid,
                                       service.name));
      continue;
    }
    each_pid([&](pid_t pid) {
      auto id = found ? std::nullopt : process_id(pid);
      if (id && (!rule.restarted_all || id->start >= rule.not_before)) found = exe_digest(pid, entry->size) == entry->digest;
    });
    if (!found) return not_running(fmt::format("no process executes the content of '{}' since the switch", entry->path));
  }
  return {true, "running", ""};
}

StepOutcome check_http(const ReleaseContext& release) {
  const Running& r = release.spec.running;
  std::string url = release.text(r.url, "running"), contains = release.text(r.contains, "running");
  HttpAnswer answer = http_get(url, HealthCheck{}.timeout, true);
  if (answer.body.find(contains) != std::string::npos) return {true, "running", ""};
  return not_running(release.mask(fmt::format("the answer of '{}' (status {}) does not hold '{}': {}", url, answer.status, contains,
                                              answer.body.substr(0, 200))));
}

}  // namespace

std::vector<UnitProcess> unit_processes(const UnitLayout& unit) {
  Releases releases(unit);
  std::vector<UnitProcess> out;
  each_pid([&](pid_t pid) {
    for (const char* name : {"exe", "cwd"}) {
      std::string path = proc_link(pid, name), folder = releases.folder_of(path);
      if (folder.empty()) continue;
      out.push_back({pid, folder, name, path, has_terminal(pid)});
      break;
    }
  });
  return out;
}

StepOutcome check_running(const ReleaseContext& release, const RunningRule& rule) {
  if (release.spec.services.empty()) return {true, "running", ""};
  try {
    switch (release.spec.running.by) {
      case Running::By::process: return check_processes(release, rule);
      case Running::By::exe_digest: return check_exe(release, rule);
      case Running::By::http: return check_http(release);
      case Running::By::none: break;
    }
  } catch (const Error& e) {
    return not_running(release.mask(e.what()));
  }
  return {true, "running", ""};
}

}  // namespace ripcord
