#include "manifests/host/running.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "core/base/digest.hpp"
#include "core/base/files.hpp"
#include "core/base/text.hpp"
#include "manifests/host/process_places.hpp"
#include "manifests/host/service.hpp"
#include "manifests/host/tcp_http.hpp"

namespace ripcord {
namespace {

using ProcessKind = ProcessFinding::Kind;

// Where one service process lies, and when it started; nullopt: as it should.
std::optional<ProcessFinding> misplaced(const ReleaseContext& release, const Service& service, const ProcessId& process,
                                        const ReleasePlaces& releases, const RunningRule& rule) {
  std::string here = release.release.id.folder();
  std::string exe = proc_link(process.pid, "exe"), cwd = proc_link(process.pid, "cwd");
  std::vector<std::string> folders;
  for (const auto& path : {exe, cwd})
    if (auto f = releases.folder_of(path); !f.empty()) folders.push_back(f);
  auto lies_here = [&] { return std::find(folders.begin(), folders.end(), here) != folders.end(); };
  auto lies_well = [&] { return lies_here() || (!rule.restarted_all && !folders.empty()); };
  if (!lies_well())
    for (auto& f : mapped_folders(process.pid, releases)) folders.push_back(std::move(f));
  auto found = [](ProcessKind kind, std::string what) { return ProcessFinding{kind, std::move(what)}; };
  // An executable of another release is no proof of this one, even when its cwd says otherwise.
  if (rule.restarted_all && !releases.folder_of(exe).empty() && releases.folder_of(exe) != here)
    return found(ProcessKind::other_release, fmt::format("process {} of service '{}' runs '{}', which lies in another release", process.pid, service.name, exe));
  if (!lies_well())
    return found(ProcessKind::other_release,
                 folders.empty() ? fmt::format("process {} of service '{}' does not run from '{}': its executable is '{}', its folder '{}', and it "
                                               "has no file of the release mapped",
                                               process.pid, service.name, here, exe.empty() ? "?" : exe, cwd.empty() ? "?" : cwd)
                                 : fmt::format("process {} of service '{}' runs from '{}', not from '{}'", process.pid, service.name,
                                               folders.front(), here));
  if (rule.replaced_too && !releases.folder_of(exe).empty() && exe.ends_with(kDeleted))
    return found(ProcessKind::deleted_binary, fmt::format("process {} of service '{}' runs '{}': the file was replaced or removed, and the service was "
                                                   "not restarted",
                                                   process.pid, service.name, exe));
  if (rule.restarted_all && process.start < rule.not_before)
    return found(ProcessKind::not_restarted, fmt::format("process {} of service '{}' started before the switch: it was not restarted", process.pid, service.name));
  return std::nullopt;
}

// The service's process is one that nobody names: any that lies in the release will do.
bool some_process_runs(const ReleaseContext& release, const RunningRule& rule, const std::vector<UnitProcess>& processes,
                       const ReleasePlaces& releases) {
  std::string here = release.release.id.folder();
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
  return found;
}

std::vector<ProcessFinding> look_at_processes(const ReleaseContext& release, const RunningRule& rule) {
  std::vector<ProcessFinding> found;
  ReleasePlaces releases(release.unit);
  std::string here = release.release.id.folder();
  auto processes = unit_processes(release.unit);
  std::vector<pid_t> judged;
  for (const auto& service : release.spec.services) {
    if (main_process_is_known(service)) {
      auto process = main_process(release, service);
      if (!process) {
        found.push_back({ProcessKind::not_running, fmt::format("service '{}' has no running process", service.name)});
        continue;
      }
      judged.push_back(process->pid);
      if (auto why = misplaced(release, service, *process, releases, rule)) found.push_back(std::move(*why));
    } else if (!some_process_runs(release, rule, processes, releases)) {
      found.push_back({ProcessKind::not_running, fmt::format("no process of service '{}' runs from '{}' since the switch", service.name, here)});
    }
  }
  if (!rule.restarted_all) return found;
  for (const auto& p : processes) {
    bool known = std::find(judged.begin(), judged.end(), p.pid) != judged.end();
    if (!known && p.folder != here && !(p.interactive && p.by == "cwd") && process_id(p.pid))
      found.push_back({ProcessKind::other_release, fmt::format("process {} still runs from '{}' (its {} is '{}')", p.pid, p.folder, p.by, p.path)});
  }
  return found;
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

std::optional<ProcessFinding> check_exe(const ReleaseContext& release, const RunningRule& rule) {
  auto found = [](ProcessKind kind, std::string what) { return ProcessFinding{kind, std::move(what)}; };
  const auto& entries = release.release.tree.entries;
  auto entry = std::find_if(entries.begin(), entries.end(), [&](const TreeEntry& e) { return e.path == release.spec.running.exe; });
  if (entry == entries.end() || entry->kind != SourceEntry::Kind::file)
    return found(ProcessKind::other_release, fmt::format("'{}' is no file of the release, so no process can be compared with it", release.spec.running.exe));
  for (const auto& service : release.spec.services) {
    if (main_process_is_known(service)) {
      auto process = main_process(release, service);
      if (!process) return found(ProcessKind::not_running, fmt::format("service '{}' has no running process", service.name));
      if (exe_digest(process->pid, entry->size) != entry->digest)
        return found(ProcessKind::other_release, fmt::format("process {} of service '{}' does not execute the content of '{}': its executable is '{}'",
                                                      process->pid, service.name, entry->path, proc_link(process->pid, "exe")));
      if (rule.restarted_all && process->start < rule.not_before)
        return found(ProcessKind::not_restarted, fmt::format("process {} of service '{}' started before the switch: it was not restarted", process->pid,
                                                      service.name));
      continue;
    }
    bool runs = false;
    each_pid([&](pid_t pid) {
      auto id = runs ? std::nullopt : process_id(pid);
      if (id && (!rule.restarted_all || id->start >= rule.not_before)) runs = exe_digest(pid, entry->size) == entry->digest;
    });
    if (!runs) return found(ProcessKind::not_running, fmt::format("no process executes the content of '{}' since the switch", entry->path));
  }
  return std::nullopt;
}

std::optional<ProcessFinding> check_http(const ReleaseContext& release) {
  const Running& r = release.spec.running;
  std::string url = release.text(r.url, "running"), contains = release.text(r.contains, "running");
  HttpAnswer answer = http_get(url, HealthCheck{}.timeout, true);
  if (answer.body.find(contains) != std::string::npos) return std::nullopt;
  ProcessFinding found{ProcessKind::other_release, release.mask(fmt::format("the answer of '{}' (status {}) does not hold '{}': {}", url, answer.status,
                                                                     contains, answer.body.substr(0, 200)))};
  return found;
}

std::vector<ProcessFinding> one(std::optional<ProcessFinding> found) {
  std::vector<ProcessFinding> out;
  if (found) out.push_back(std::move(*found));
  return out;
}

}  // namespace

std::vector<ProcessFinding> running_findings(const ReleaseContext& release, const RunningRule& rule) {
  if (release.spec.services.empty()) return {};
  try {
    switch (release.spec.running.by) {
      case Running::By::process: return look_at_processes(release, rule);
      case Running::By::exe_digest: return one(check_exe(release, rule));
      case Running::By::http: return one(check_http(release));
      case Running::By::none: break;
    }
  } catch (const Error& e) {
    return one(ProcessFinding{ProcessKind::not_running, release.mask(e.what())});
  }
  return {};
}

StepOutcome check_running(const ReleaseContext& release, const RunningRule& rule) {
  auto found = running_findings(release, rule);
  return found.empty() ? StepOutcome{true, "running", ""} : StepOutcome::failed("running", found.front().what);
}

std::string_view to_text(ProcessFinding::Kind kind) {
  switch (kind) {
    case ProcessKind::not_running: return "not_running";
    case ProcessKind::other_release: return "other_release";
    case ProcessKind::deleted_binary: return "deleted_binary";
    case ProcessKind::not_restarted: return "not_restarted";
  }
  return "not_running";
}

std::optional<std::string> left_running(const UnitLayout& unit) {
  for (const auto& p : unit_processes(unit))
    if (!(p.interactive && p.by == "cwd") && process_id(p.pid))
      return fmt::format("process {} runs from '{}' (its {} is '{}')", p.pid, p.folder, p.by, p.path);
  return std::nullopt;
}

}  // namespace ripcord
