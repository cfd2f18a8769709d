#include "manifests/host/halt.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>

#include "core/base/text.hpp"
#include "manifests/host/own_files.hpp"

namespace ripcord {
namespace {

constexpr std::size_t kMaxFlag = 64 * 1024;

std::string gate_file(const Layout& layout) { return layout.state + "/halt.lock"; }

Fd open_gate(HostContext& host) {
  make_own_dirs(host.layout.state);
  auto path = gate_file(host.layout);
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) throw host_os_error("open the lock", path, errno);
  return fd;
}

bool try_gate(int fd, int how, const std::string& path) {
  while (::flock(fd, how | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno == EWOULDBLOCK) return false;
    throw host_os_error("lock", path, errno);
  }
  return true;
}

bool take_gate(int fd, int how, const std::string& path, Millis wait) {
  for (auto until = boot_now() + wait;;) {
    if (try_gate(fd, how, path)) return true;
    if (boot_now() >= until) return false;
    timespec pause{0, 5'000'000};
    ::nanosleep(&pause, nullptr);
  }
}

}  // namespace

std::optional<Halt> halt_flag(const HostContext& host) {
  auto path = host.layout.halt_file();
  if (!exists(path)) return std::nullopt;
  try {
    auto text = read_file_if_exists(path, kMaxFlag);
    if (!text) return std::nullopt;  // lifted in between
    return halt_from_json(parse_json_object(trim(*text), "the halt flag"));
  } catch (const Error& e) {
    return Halt{"unreadable", "somebody", "an unknown machine", fmt::format("the flag '{}' cannot be read: {}", path, e.what()), 0};
  }
}

void raise_halt(HostContext& host, const Halt& halt, Millis wait) {
  make_own_dirs(host.layout.state);
  write_own_file(host.layout.halt_file(), json::serialize(to_json(halt)) + "\n");
  // From here on nobody passes the gate; those who have are waited for.
  Fd gate = open_gate(host);
  if (!take_gate(gate.get(), LOCK_EX, gate_file(host.layout), wait))
    throw HostFailure("busy", fmt::format("the halt is set, but an activation that began before it has not come through within {}", format_duration(wait)),
                      "say halt again; it waits for it");
}

std::optional<Halt> lift_halt(HostContext& host) {
  auto was = halt_flag(host);
  auto path = host.layout.halt_file();
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) throw host_os_error("remove", path, errno);
  if (was) fsync_own_dir(host.layout.state);
  return was;
}

ForwardGate::ForwardGate(HostContext& host) : fd_(open_gate(host)) {
  // Exclusive only while a halt waits for others, which ends by itself.
  bool passed = take_gate(fd_.get(), LOCK_SH, gate_file(host.layout), Millis(15000));
  auto halt = halt_flag(host);
  if (halt)
    throw HostFailure("halted", escape_terminal(fmt::format("this host is {}", halt->text())),
                      "`ripcord unhalt -m WHY` lifts it; going back works all the same");
  if (!passed) throw HostFailure("busy", "a halt is being set on this host, or its lock is held by something else", "try again");
}

}  // namespace ripcord
