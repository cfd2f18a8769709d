#include "tests/support/step_trace.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "core/base/error.hpp"
#include "core/base/files.hpp"

namespace ripcord::test {
namespace {

const std::map<std::uint64_t, const char*>& calls() {
  static const std::map<std::uint64_t, const char*> all{
      {SYS_fsync, "fsync"}, {SYS_fdatasync, "fdatasync"}, {SYS_syncfs, "syncfs"}, {SYS_renameat, "renameat"}, {SYS_renameat2, "renameat2"},
      {SYS_symlinkat, "symlinkat"}, {SYS_unlinkat, "unlinkat"}, {SYS_linkat, "linkat"},
#ifdef SYS_rename
      {SYS_rename, "rename"}, {SYS_symlink, "symlink"}, {SYS_unlink, "unlink"}, {SYS_link, "link"},
#endif
  };
  return all;
}

// Kills the program when it takes too long: the tracer itself stands in waitpid.
class Watchdog {
 public:
  Watchdog(pid_t pid, Millis limit) : thread_([this, pid, limit] {
      std::unique_lock lock(mutex_);
      if (over_.wait_for(lock, std::chrono::milliseconds(limit.count()), [this] { return done_; })) return;
      barked_ = true;
      ::kill(pid, SIGKILL);
    }) {}
  ~Watchdog() { end(); }
  bool end() {
    {
      std::lock_guard lock(mutex_);
      done_ = true;
    }
    over_.notify_all();
    if (thread_.joinable()) thread_.join();
    return barked_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable over_;
  bool done_ = false, barked_ = false;
  std::thread thread_;
};

void drain(int fd, std::string& into) {
  std::array<char, 8192> buffer;
  for (ssize_t n; (n = ::read(fd, buffer.data(), buffer.size())) > 0;) into.append(buffer.data(), static_cast<std::size_t>(n));
}

}  // namespace

bool step_trace_works() {
  try {
    return step_trace({"/bin/true"}, "", Millis(5000), [](const CallStop&) {}).exit == 0;
  } catch (const Error&) {
    return false;
  }
}

StepTraced step_trace(const std::vector<std::string>& argv, const std::string& input, Millis deadline, const std::function<void(const CallStop&)>& at_stop) {
  int to[2], from[2];
  if (::pipe2(to, O_CLOEXEC) != 0) throw os_error("make", "a pipe", errno);
  Fd to_read(to[0]), to_write(to[1]);
  if (::pipe2(from, O_CLOEXEC) != 0) throw os_error("make", "a pipe", errno);
  Fd from_read(from[0]), from_write(from[1]);
  ::fcntl(to[1], F_SETPIPE_SZ, 1 << 20);
  ::fcntl(from[1], F_SETPIPE_SZ, 1 << 20);
  ::fcntl(from[0], F_SETFL, O_NONBLOCK);
  write_all(to[1], input, "the program's input");

  std::vector<char*> raw;
  for (const auto& a : argv) raw.push_back(const_cast<char*>(a.c_str()));
  raw.push_back(nullptr);
  pid_t pid = ::fork();
  if (pid < 0) throw os_error("start", argv[0], errno);
  if (pid == 0) {
    ::dup2(to[0], 0);
    ::dup2(from[1], 1);
    if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(126);
    ::raise(SIGSTOP);
    ::execv(raw[0], raw.data());
    ::_exit(127);
  }
  to_read.reset();
  from_write.reset();
  int status = 0, n = 0;
  StepTraced out;
  if (::waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status)) throw Error("cannot trace here");
  if (::ptrace(PTRACE_SETOPTIONS, pid, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) != 0) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, &status, __WALL);
    throw os_error("trace", argv[0], errno);
  }
  Watchdog watchdog(pid, deadline);
  const char* in_call = nullptr;
  for (long deliver = 0;;) {
    if (::ptrace(PTRACE_SYSCALL, pid, nullptr, deliver) != 0 && errno != ESRCH) throw os_error("go on with", argv[0], errno);
    if (::waitpid(pid, &status, __WALL) != pid) throw os_error("wait for", argv[0], errno);
    if (WIFEXITED(status) || WIFSIGNALED(status)) break;
    deliver = 0;
    if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
      if (WSTOPSIG(status) != SIGTRAP) deliver = WSTOPSIG(status);  // SIGTRAP: it has executed another program
      continue;
    }
    __ptrace_syscall_info info{};
    if (::ptrace(static_cast<__ptrace_request>(PTRACE_GET_SYSCALL_INFO), pid, sizeof info, &info) <= 0) continue;
    bool before = info.op == PTRACE_SYSCALL_INFO_ENTRY;
    if (before) {
      auto found = calls().find(info.entry.nr);
      in_call = found == calls().end() ? nullptr : found->second;
      n += in_call != nullptr;
    }
    if (!in_call) continue;
    drain(from_read.get(), out.output);
    at_stop({in_call, n, before, out.output});
    if (!before) in_call = nullptr;
  }
  out.timed_out = watchdog.end();
  drain(from_read.get(), out.output);
  if (WIFEXITED(status)) out.exit = WEXITSTATUS(status);
  return out;
}

}  // namespace ripcord::test
