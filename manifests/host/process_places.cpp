#include "manifests/host/process_places.hpp"

#include <dirent.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstdlib>
#include <memory>

#include "core/base/error.hpp"
#include "core/base/files.hpp"
#include "core/base/text.hpp"
#include "manifests/host/running.hpp"

namespace ripcord {

ReleasePlaces::ReleasePlaces(const UnitLayout& unit) : prefixes_{unit.releases + "/"} {
  std::unique_ptr<char, void (*)(void*)> real(::realpath(unit.releases.c_str(), nullptr), ::free);
  if (real && real.get() + std::string("/") != prefixes_[0]) prefixes_.push_back(real.get() + std::string("/"));
}

std::string ReleasePlaces::folder_of(std::string_view path) const {
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

std::string proc_link(pid_t pid, const char* name) {
  char path[48];
  snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
  std::array<char, PATH_MAX> buffer;
  ssize_t n = ::readlink(path, buffer.data(), buffer.size());
  return n > 0 ? std::string(buffer.data(), static_cast<std::size_t>(n)) : std::string();
}

std::vector<std::string> mapped_folders(pid_t pid, const ReleasePlaces& releases) {
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

void each_pid(const std::function<void(pid_t)>& visit) {
  std::unique_ptr<DIR, int (*)(DIR*)> proc(::opendir("/proc"), ::closedir);
  while (dirent* e = proc ? ::readdir(proc.get()) : nullptr)
    if (pid_t pid = static_cast<pid_t>(atoi(e->d_name)); pid > 0) visit(pid);
}

std::vector<UnitProcess> unit_processes(const UnitLayout& unit) {
  ReleasePlaces releases(unit);
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

std::set<std::string> folders_in_use(const UnitLayout& unit) {
  ReleasePlaces releases(unit);
  std::set<std::string> out;
  each_pid([&](pid_t pid) {
    for (const char* name : {"exe", "cwd", "root"}) out.insert(releases.folder_of(proc_link(pid, name)));
    for (auto& folder : mapped_folders(pid, releases)) out.insert(std::move(folder));
  });
  out.erase("");
  return out;
}

std::set<std::string> programs_in_use(const std::string& helpers) {
  std::set<std::string> out;
  each_pid([&](pid_t pid) {
    auto exe = proc_link(pid, "exe");
    if (exe.compare(0, helpers.size() + 1, helpers + "/") == 0) out.insert(exe.substr(helpers.size() + 1, 64));
  });
  return out;
}

}  // namespace ripcord
