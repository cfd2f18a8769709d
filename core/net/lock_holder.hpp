// Who keeps others off a file, for people: POSIX locks name nobody in their error.
#pragma once
#include <optional>
#include <string>

namespace ripcord {

struct LockHolder {
  int pid = 0;
  std::string text;      // "process 4711 (ripcord, stopped)"
  bool stopped = false;  // SIGSTOP, a debugger: it gives nothing back by itself
};

// By /proc/locks: another process that has a POSIX write lock on `path`. Opens nothing: a descriptor of the file that is closed takes all locks
// of this process with it. nullopt: nobody, or it cannot be told (another pid namespace).
std::optional<LockHolder> lock_holder(const std::string& path);

}  // namespace ripcord
