#include "core/net/lock_holder.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/base/error.hpp"
#include "core/base/files.hpp"
#include "core/base/text.hpp"

namespace ripcord {
namespace {

// "4711 (name) T 1 …": a name may hold anything, also ')'.
LockHolder describe(int pid) {
  LockHolder holder{pid, fmt::format("process {}", pid), false};
  const auto stat = read_file(fmt::format("/proc/{}/stat", pid));
  const auto open = stat.find('('), close = stat.rfind(')');
  if (open == stat.npos || close == stat.npos || close + 2 >= stat.size()) return holder;
  holder.stopped = stat[close + 2] == 'T' || stat[close + 2] == 't';
  holder.text += fmt::format(" ({}{})", escape_terminal(stat.substr(open + 1, close - open - 1)), holder.stopped ? ", stopped" : "");
  return holder;
}

}  // namespace

std::optional<LockHolder> lock_holder(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) return std::nullopt;
  const auto file = fmt::format(" {:02x}:{:02x}:{} ", major(st.st_dev), minor(st.st_dev), st.st_ino);
  try {
    for (const auto& line : split(read_file("/proc/locks"), '\n')) {  // "12: POSIX  ADVISORY  WRITE 4711 fe:00:1234 0 EOF"
      const auto at = line.find(file), kind = line.find("POSIX  ADVISORY  WRITE ");
      if (at == line.npos || kind == line.npos || line.find("-> ") != line.npos) continue;
      const int pid = std::atoi(line.c_str() + kind + 23);
      if (pid > 0 && pid != ::getpid()) return describe(pid);
    }
  } catch (const Error&) {  // no /proc, or it has just ended
  }
  return std::nullopt;
}

}  // namespace ripcord
