#include "manifests/host/lock.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>

#include "core/base/text.hpp"

namespace ripcord {
namespace {

bool try_lock(int fd, int how, const std::string& path) {
  while (::flock(fd, how | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno == EWOULDBLOCK) return false;
    throw host_os_error("lock", path, errno);
  }
  return true;
}

}  // namespace

UnitLock::UnitLock(HostContext& host, const UnitLayout& unit, const std::string& purpose, Millis wait) : unit_(unit.unit) {
  host.ensure_unit_state(unit);
  auto path = unit.lock();
  int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) throw host_os_error("open the lock", path, errno);
  fd_.reset(fd);
  auto deadline = boot_now() + wait;  // real time, also in tests that bend the context's clock
  while (!try_lock(fd, LOCK_EX, path)) {
    if (boot_now() >= deadline) {
      auto holder = read_file_if_exists(path, 4096).value_or("");
      throw HostFailure("busy",
                        fmt::format("unit '{}' is being changed by another process ({}); waited {} for its lock", unit.unit,
                                    holder.empty() ? "it left no name" : escape_terminal(trim(holder)), format_duration(wait)),
                        "wait for it to end, then try again; the lock goes with the process");
    }
    timespec pause{0, 10'000'000};
    ::nanosleep(&pause, nullptr);
  }
  // For people only, so neither durable nor checked: the lock is the flock, and it is held whatever the text says.
  auto note = fmt::format("pid {}: {}\n", ::getpid(), purpose);
  if (::ftruncate(fd, 0) == 0) (void)!::pwrite(fd, note.data(), note.size(), 0);
}

bool UnitLock::is_held(const UnitLayout& unit) {
  Fd fd(::open(unit.lock().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return false;
  return !try_lock(fd.get(), LOCK_SH, unit.lock());
}

}  // namespace ripcord
