#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cctype>
#include <cerrno>

#include "manifests/host/activation.hpp"
#include "manifests/host/deadman.hpp"

namespace ripcord {
namespace {

constexpr Millis kAcknowledge{5000};
constexpr const char* kBootUnit = "/etc/systemd/system/ripcord-recover.service";

Argv deadman_argv(const HostContext& host, const UnitLayout& unit, const std::string& op) {
  // A helper whose file was removed meanwhile still is what the child of it can execute.
  bool deleted = host.program.size() > 10 && host.program.substr(host.program.size() - 10) == " (deleted)";
  Argv a{deleted ? "/proc/self/exe" : host.program, "deadman", "--state-dir", host.layout.state, "--unit", unit.unit, "--unit-root", unit.root, "--op", op};
  if (!host.layout.prefix.empty()) a.insert(a.end(), {"--root", host.layout.prefix});
  return a;
}

HostFailure cannot_arm(const std::string& why) {
  return HostFailure("cannot_arm", "the dead-man switch cannot be armed: " + why, "nothing was switched");
}

// Waits for "armed" on the process's standard output.
void wait_acknowledged(int fd) {
  std::string heard;
  Elapsed end = boot_now() + kAcknowledge;
  while (heard.find("armed\n") == std::string::npos) {
    Millis left = end - boot_now();
    pollfd p{fd, POLLIN, 0};
    if (left <= Millis(0) || ::poll(&p, 1, static_cast<int>(left.count())) == 0)
      throw cannot_arm(fmt::format("its process did not acknowledge within {}", format_duration(kAcknowledge)));
    char buffer[512];
    ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) throw cannot_arm("its process ended at once" + (heard.empty() ? "" : ": " + std::string(trim(heard))));
    heard.append(buffer, static_cast<std::size_t>(n));
  }
}

void arm_weak(HostContext& host, const UnitLayout& unit, Pending& pending) {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) throw host_os_error("create", "a pipe", errno);
  Fd read(fds[0]), write(fds[1]);
  Command c{.argv = deadman_argv(host, unit, pending.op), .cwd = "/"};
  c.before_exec = [&](const ProcessId& id) {
    pending.deadman = id;
    write_pending(unit, pending);
  };
  start_detached(c, write.get());
  write.reset();
  wait_acknowledged(read.get());
}

// Installed where it is missing, so that a reboot is noticed within the minute. False: it cannot be.
bool install_boot_unit(const HostContext& host) {
  std::string path = host.layout.on_host(kBootUnit);
  std::string wants = host.layout.on_host("/etc/systemd/system/multi-user.target.wants/ripcord-recover.service");
  std::string text = fmt::format(
      "# Written by ripcord-host: takes back what was armed when this host went down.\n"
      "[Unit]\nDescription=ripcord: recover operations after a reboot\nAfter=local-fs.target network.target\n\n"
      "[Service]\nType=oneshot\nKillMode=process\nExecStart={} recover --state-dir {}{}\n\n[Install]\nWantedBy=multi-user.target\n",
      host.program, host.layout.state, host.layout.prefix.empty() ? "" : " --root " + host.layout.prefix);
  try {
    if (read_file_if_exists(path).value_or("") != text) write_file_durable(path, text, 0644);
    if (!exists(wants)) {
      make_dirs(parent_dir(wants), 0755);
      if (::symlink(kBootUnit, wants.c_str()) != 0 && errno != EEXIST) return false;
      fsync_dir(parent_dir(wants));
    }
    return true;
  } catch (const Error&) {
    return false;
  }
}

std::string timer_name(const UnitLayout& unit, const std::string& op) {
  std::string name = "ripcord-deadman-" + unit.unit + "-" + op;
  for (char& c : name)
    if (!isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '_' && c != '.') c = '_';
  return name;
}

void arm_strong(HostContext& host, const UnitLayout& unit, Pending& pending) {
  pending.timer = timer_name(unit, pending.op);
  write_pending(unit, pending);
  Millis left = pending.deadline - host.elapsed();
  // KillMode=process: the services that the way back starts are children of the transient unit and must outlive it.
  Argv argv{"systemd-run", "--quiet", "--collect", fmt::format("--on-active={}ms", std::max<std::int64_t>(left.count(), 1)),
            "--timer-property=AccuracySec=100ms", "--property=KillMode=process", "--unit=" + pending.timer};
  auto act = deadman_argv(host, unit, pending.op);
  argv.insert(argv.end(), act.begin(), act.end());
  argv.push_back("--now");
  RunResult r = run_process({.argv = argv}, kAcknowledge);
  if (!r.ok()) throw cannot_arm(fmt::format("systemd-run: {}: {}", r.text(), trim(r.output)));
}

}  // namespace

std::string deadman_strength(const HostContext& host) {
  bool systemd = ::geteuid() == 0 && exists(host.layout.on_host("/run/systemd/system"));
  return systemd ? "strong" : "weak";
}

void arm(HostContext& host, const UnitLayout& unit, Pending& pending) {
  try {
    if (deadman_strength(host) == "strong" && install_boot_unit(host)) {
      pending.strength = "strong";
      arm_strong(host, unit, pending);
    } else {
      pending.strength = "weak";
      arm_weak(host, unit, pending);
    }
  } catch (const Error& e) {
    disarm(host, pending);
    ::unlink(unit.pending().c_str());
    const auto* failure = dynamic_cast<const HostFailure*>(&e);
    if (failure && failure->code() != "internal") throw;
    throw cannot_arm(e.what());
  }
}

void disarm(const HostContext& host, const Pending& pending) {
  if (pending.boot != host.boot_id) return;
  if (pending.deadman.pid > 1 && is_alive(pending.deadman) && pending.deadman.pid != ::getpid()) {
    ::kill(pending.deadman.pid, SIGKILL);
    reap(pending.deadman.pid);
  }
  if (!pending.timer.empty()) {
    try {
      run_process({.argv = {"systemctl", "stop", "--", pending.timer + ".timer"}}, kAcknowledge);
    } catch (const Error&) {  // it will find its operation ended
    }
  }
}

bool is_armed(const HostContext& host, const Pending& pending) {
  if (pending.boot != host.boot_id) return false;
  return pending.strength == "strong" || is_alive(pending.deadman);
}

}  // namespace ripcord
