// Where processes lie: the release folders that /proc names for them.
#pragma once
#include <sys/types.h>

#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "manifests/host/layout.hpp"

namespace ripcord {

// Behind the path of a process's executable or folder, when that was removed or replaced under it.
inline constexpr std::string_view kDeleted = " (deleted)";

// Finds the release folder of a path, whichever way the releases folder is reached.
class ReleasePlaces {
 public:
  explicit ReleasePlaces(const UnitLayout& unit);
  std::string folder_of(std::string_view path) const;  // "": in none

 private:
  std::vector<std::string> prefixes_;
};

std::string proc_link(pid_t pid, const char* name);  // "exe", "cwd"; "" when it may not be read
// Release folders with a file that the process has mapped.
std::vector<std::string> mapped_folders(pid_t pid, const ReleasePlaces& releases);
bool has_terminal(pid_t pid);
void each_pid(const std::function<void(pid_t)>& visit);

// Release folders of the unit that any process executes, stands in or has mapped, a person's shell among them.
std::set<std::string> folders_in_use(const UnitLayout& unit);
// Digests of host programs below `helpers` that are being executed.
std::set<std::string> programs_in_use(const std::string& helpers);

}  // namespace ripcord
