#include "core/base/process.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "core/base/clock.hpp"
#include "core/base/error.hpp"
#include "core/base/files.hpp"

extern char** environ;

namespace ripcord {
namespace {

struct Stat {
  char state = '?';
  pid_t session = 0, group = 0;
  std::uint64_t start = 0;
};

std::optional<Stat> read_stat(pid_t pid) {
  char path[32], buffer[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  Fd fd(::open(path, O_RDONLY | O_CLOEXEC));
  if (!fd) return std::nullopt;
  ssize_t n = ::read(fd.get(), buffer, sizeof buffer - 1);
  if (n <= 0) return std::nullopt;
  buffer[n] = 0;
  const char* rest = strrchr(buffer, ')');  // the name before it may hold anything
  if (!rest) return std::nullopt;
  Stat s;
  unsigned long long start = 0;
  if (sscanf(rest + 1, " %c %*d %d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &s.state, &s.group,
             &s.session, &start) != 4)
    return std::nullopt;
  s.start = start;
  return s;
}

template <class Visit>
void each_process(Visit visit) {
  std::unique_ptr<DIR, int (*)(DIR*)> proc(::opendir("/proc"), ::closedir);
  while (dirent* e = proc ? ::readdir(proc.get()) : nullptr) {
    pid_t pid = static_cast<pid_t>(atoi(e->d_name));
    auto s = pid > 1 ? read_stat(pid) : std::nullopt;
    if (s && s->state != 'Z' && s->state != 'X') visit(pid, *s);
  }
}

std::string signal_name(int signal) {
  const char* name = sigabbrev_np(signal);
  return name ? fmt::format("SIG{}", name) : fmt::format("signal {}", signal);
}

// The file to execute, found here because the child may not search.
std::string find_program(const Command& c) {
  if (c.argv.empty() || c.argv[0].empty()) throw Error("cannot start a program: its name is empty");
  const std::string& name = c.argv[0];
  if (name.find('/') != std::string::npos) return name;
  std::string path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  if (c.env) {
    for (const auto& e : *c.env)
      if (e.rfind("PATH=", 0) == 0) path = e.substr(5);
  } else if (const char* p = ::getenv("PATH")) {
    path = p;
  }
  for (const auto& folder : split(path, ':')) {
    std::string file = (folder.empty() ? "." : folder) + "/" + name;
    if (::access(file.c_str(), X_OK) == 0) return file;
  }
  throw Error(fmt::format("cannot start '{}': it is not in PATH ({})", name, path));
}

struct Pipe {
  Fd read, write;
  Pipe() {
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) != 0) throw os_error("create", "a pipe", errno);
    read.reset(fds[0]);
    write.reset(fds[1]);
  }
};

struct ChildFailure {
  int step = 0, error = 0;
};
const char* const kSteps[] = {"prepare", "enter the folder of", "change the user of", "execute"};

// Everything the child needs, made before the fork.
struct ChildPlan {
  std::string program, cwd;
  std::vector<char*> argv, env;
  int in = -1, out = -1, gate = -1, report = -1;
  const UserIds* user = nullptr;
  int umask = -1;
};

[[noreturn]] void child_fails(const ChildPlan& p, int step) {
  ChildFailure f{step, errno};
  [[maybe_unused]] ssize_t n = ::write(p.report, &f, sizeof f);
  ::_exit(127);
}

// Between fork and exec: async-signal-safe calls only.
[[noreturn]] void become(const ChildPlan& p) {
  ::setsid();
  struct sigaction plain {};
  plain.sa_handler = SIG_DFL;
  for (int s = 1; s < NSIG; ++s) ::sigaction(s, &plain, nullptr);
  // 0, 1 and 2 may be closed in the parent, so a descriptor of ours may be one of them: move ours up first.
  int in = ::fcntl(p.in, F_DUPFD_CLOEXEC, 10), out = ::fcntl(p.out, F_DUPFD_CLOEXEC, 10);
  char go = 0;
  ssize_t n;
  while ((n = ::read(p.gate, &go, 1)) < 0 && errno == EINTR) {
  }
  if (n != 1) ::_exit(127);  // the parent is gone or does not want it
  if (in < 0 || out < 0 || ::dup2(in, 0) < 0 || ::dup2(out, 1) < 0 || ::dup2(out, 2) < 0) child_fails(p, 0);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (p.user && (::setgroups(p.user->groups.size(), p.user->groups.data()) != 0 || ::setgid(p.user->gid) != 0 ||
                 ::setuid(p.user->uid) != 0))
    child_fails(p, 2);
  if (p.umask >= 0) ::umask(static_cast<mode_t>(p.umask));
  if (!p.cwd.empty() && ::chdir(p.cwd.c_str()) != 0) child_fails(p, 1);
  // What a library opened without O_CLOEXEC must not leak either; where close_range is missing O_CLOEXEC has to do.
  constexpr unsigned kCloexec = 1u << 2;
  ::syscall(SYS_close_range, 3u, ~0u, kCloexec);
  ::execve(p.program.c_str(), p.argv.data(), p.env.data());
  child_fails(p, 3);
}

// Forks, lets the caller note the child, lets it execute, and returns once it has.
ProcessId launch(const Command& c, int in, int out) {
  Pipe gate, report;
  ChildPlan p;
  p.program = find_program(c);
  p.cwd = c.cwd;
  for (const auto& a : c.argv) p.argv.push_back(const_cast<char*>(a.c_str()));
  p.argv.push_back(nullptr);
  if (c.env) {
    for (const auto& e : *c.env) p.env.push_back(const_cast<char*>(e.c_str()));
  } else {
    for (char** e = environ; *e; ++e) p.env.push_back(*e);
  }
  p.env.push_back(nullptr);
  p.in = in, p.out = out, p.gate = gate.read.get(), p.report = report.write.get();
  if (c.user) p.user = &*c.user;
  if (c.umask) p.umask = static_cast<int>(*c.umask);

  // The pipe ends that must not be held by a child forked meanwhile in another thread are O_CLOEXEC; that child executes soon.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // no handler of ours may run in the child
  pid_t pid = ::fork();
  if (pid == 0) {
    ::close(gate.write.get());  // else it would never see the parent die
    become(p);
  }
  int fork_error = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) throw os_error("start", c.argv[0], fork_error);
  gate.read.reset();
  report.write.reset();
  auto collect = [pid] {
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
  };
  ProcessId id = process_id(pid).value_or(ProcessId{pid, 0});
  try {
    if (c.before_exec) c.before_exec(id);
    write_all(gate.write.get(), "g", "the gate of a child");
  } catch (...) {
    ::kill(pid, SIGKILL);
    collect();
    throw;
  }
  ChildFailure failure;
  ssize_t n;
  while ((n = ::read(report.read.get(), &failure, sizeof failure)) < 0 && errno == EINTR) {
  }
  if (n == static_cast<ssize_t>(sizeof failure)) {
    collect();
    int step = std::clamp(failure.step, 0, 3);
    throw Error(step == 1 ? fmt::format("cannot start '{}': its folder '{}': {}", c.argv[0], c.cwd, errno_text(failure.error))
                          : fmt::format("cannot {} '{}': {}", kSteps[step], c.argv[0], errno_text(failure.error)));
  }
  return id;
}

Fd input_of(const Command& c) {
  if (c.input.empty()) return open_file("/dev/null", O_RDONLY);
  // Memory instead of a pipe: no writer to keep fed, no SIGPIPE when the program does not read.
  Fd fd(::memfd_create("stdin", MFD_CLOEXEC));
  if (!fd) throw os_error("create", "memory for a program's input", errno);
  write_all(fd.get(), c.input, "a program's input");
  ::lseek(fd.get(), 0, SEEK_SET);
  return fd;
}

// The last `keep` bytes of what passes.
struct Tail {
  std::size_t keep;
  std::string bytes;
  bool truncated = false;
  void add(const char* data, std::size_t n) {
    bytes.append(data, n);
    if (bytes.size() > 2 * keep + 65536) cut();
  }
  void cut() {
    if (bytes.size() <= keep) return;
    bytes.erase(0, bytes.size() - keep);
    truncated = true;
  }
};

bool drain(int fd, Tail& tail) {  // false: the end
  std::array<char, 65536> buffer;
  while (true) {
    ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n > 0) {
      tail.add(buffer.data(), static_cast<std::size_t>(n));
      return true;  // one portion a turn: a program that never stops writing must not hide its deadline
    }
    if (n < 0 && errno == EINTR) continue;
    return n < 0 && errno == EAGAIN;
  }
}

}  // namespace

std::optional<ProcessId> process_id(pid_t pid) {
  auto s = pid > 0 ? read_stat(pid) : std::nullopt;
  if (!s || s->state == 'Z' || s->state == 'X') return std::nullopt;
  return ProcessId{pid, s->start};
}

bool is_alive(const ProcessId& process) { return process_id(process.pid) == process; }

std::uint64_t process_start_now() {
  return static_cast<std::uint64_t>(boot_now().us) / static_cast<std::uint64_t>(1000000 / ::sysconf(_SC_CLK_TCK));
}

std::string ProcessEnd::text() const {
  return signal ? "killed by " + signal_name(signal) : fmt::format("exit status {}", exit);
}

std::optional<ProcessEnd> reap(pid_t pid) {
  int status = 0;
  if (pid <= 0 || ::waitpid(pid, &status, WNOHANG) != pid) return std::nullopt;
  if (WIFSIGNALED(status)) return ProcessEnd{-1, WTERMSIG(status)};
  return ProcessEnd{WEXITSTATUS(status), 0};
}

std::string RunResult::text() const {
  if (timed_out) return "did not end in time and was killed";
  return ProcessEnd{exit, signal}.text();
}

bool group_is_alive(pid_t leader) {
  if (leader <= 1 || (::kill(-leader, 0) != 0 && errno == ESRCH)) return false;
  if (process_id(leader)) return true;
  bool any = false;  // only zombies may be left, when nobody collects them
  each_process([&](pid_t, const Stat& s) { any |= s.group == leader; });
  return any;
}

bool signal_group(pid_t leader, int signal, bool session) {
  if (leader <= 1) return false;
  bool any = ::kill(-leader, signal) == 0;
  if (session)
    each_process([&](pid_t pid, const Stat& s) {
      if (s.session == leader && s.group != leader) any |= ::kill(pid, signal) == 0;
    });
  return any;
}

RunResult run_process(const Command& command, Millis deadline, std::size_t keep) {
  Fd in = input_of(command);
  Pipe out;
  Elapsed end = boot_now() + deadline;
  pid_t pid = launch(command, in.get(), out.write.get()).pid;
  out.write.reset();
  ::fcntl(out.read.get(), F_SETFL, O_NONBLOCK);
  Fd watch(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));  // missing before Linux 5.3: look every 10 ms instead

  RunResult result;
  Tail tail{keep, {}};
  int status = 0;
  bool open = true;
  while (true) {
    pid_t done = ::waitpid(pid, &status, WNOHANG);
    if (done == pid || (done < 0 && errno == ECHILD)) break;
    std::int64_t left = (end - boot_now()).count();
    if (left <= 0) {
      result.timed_out = true;
      for (int i = 0; i < 3; ++i) signal_group(pid, SIGKILL, true);  // more than once: one of them may be forking right now
      while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
      }
      break;
    }
    pollfd fds[2] = {{open ? out.read.get() : -1, POLLIN, 0}, {watch ? watch.get() : -1, POLLIN, 0}};
    ::poll(fds, 2, static_cast<int>(std::min<std::int64_t>(left, watch ? 60000 : 10)));
    if (fds[0].revents) open = drain(out.read.get(), tail);
  }
  if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
  else result.exit = WEXITSTATUS(status);
  // What it wrote last is in the pipe now, at most the pipe's 64 KiB; whoever else holds the other end is not waited for.
  for (int i = 0; open && i < 2; ++i) open = drain(out.read.get(), tail);
  tail.cut();
  result.output = std::move(tail.bytes);
  result.truncated = tail.truncated;
  return result;
}

ProcessId start_detached(const Command& command, const std::string& log) {
  Fd out = log.empty() ? open_file("/dev/null", O_WRONLY) : open_file(log, O_WRONLY | O_APPEND | O_CREAT, 0640);
  return start_detached(command, out.get());
}

ProcessId start_detached(const Command& command, int output) {
  Fd in = input_of(command);
  return launch(command, in.get(), output);
}

}  // namespace ripcord
