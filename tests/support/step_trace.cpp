#include "tests/support/step_trace.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
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

// As the kernel names them; those that this machine does not have are left out.
const std::map<std::string, std::uint64_t>& numbers() {
  static const std::map<std::string, std::uint64_t> all{
      {"fsync", SYS_fsync}, {"fdatasync", SYS_fdatasync}, {"syncfs", SYS_syncfs}, {"renameat", SYS_renameat}, {"renameat2", SYS_renameat2},
      {"symlinkat", SYS_symlinkat}, {"unlinkat", SYS_unlinkat}, {"linkat", SYS_linkat}, {"mkdirat", SYS_mkdirat}, {"openat", SYS_openat},
      {"openat2", SYS_openat2}, {"write", SYS_write}, {"writev", SYS_writev}, {"pwrite64", SYS_pwrite64}, {"sendmsg", SYS_sendmsg},
      {"sendto", SYS_sendto}, {"ioctl", SYS_ioctl}, {"copy_file_range", SYS_copy_file_range},
#ifdef SYS_rename
      {"rename", SYS_rename}, {"symlink", SYS_symlink}, {"unlink", SYS_unlink}, {"link", SYS_link}, {"mkdir", SYS_mkdir}, {"open", SYS_open},
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

const std::vector<std::string> kNameCalls{"fsync", "fdatasync", "syncfs", "rename", "renameat", "renameat2", "symlink", "symlinkat", "unlink", "unlinkat", "link", "linkat"};

std::string CallStop::text(std::size_t arg) const {
  std::string out(4096, '\0');
  // Up to the end of its page: what lies behind may not be mapped.
  std::size_t here = 4096 - args[arg] % 4096;
  iovec local{out.data(), here}, remote{reinterpret_cast<void*>(args[arg]), here};
  if (::process_vm_readv(pid, &local, 1, &remote, 1, 0) != static_cast<ssize_t>(here)) return "";
  if (out.find('\0') >= here) {
    local = {out.data() + here, 4096 - here}, remote = {reinterpret_cast<void*>(args[arg] + here), 4096 - here};
    (void)!::process_vm_readv(pid, &local, 1, &remote, 1, 0);
  }
  out.resize(out.find('\0') == out.npos ? 0 : out.find('\0'));
  return out;
}

std::string CallStop::file(std::size_t arg) const {
  auto fd = static_cast<std::int32_t>(args[arg]);
  auto at = "/proc/" + std::to_string(pid);
  return read_link(fd == AT_FDCWD ? at + "/cwd" : at + "/fd/" + std::to_string(fd)).value_or("");
}

std::string CallStop::path(std::size_t folder, std::size_t name) const {
  auto given = text(name);
  return !given.empty() && given[0] == '/' ? given : file(folder) + "/" + given;
}

std::string CallStop::path(std::size_t name) const {
  auto given = text(name);
  return !given.empty() && given[0] == '/' ? given : read_link("/proc/" + std::to_string(pid) + "/cwd").value_or("") + "/" + given;
}

bool step_trace_works() {
  try {
    return step_trace({"/bin/true"}, "", {}, Millis(5000), [](const CallStop&) {}).exit == 0;
  } catch (const Error&) {
    return false;
  }
}

StepTraced step_trace(const std::vector<std::string>& argv, const std::string& input, const std::vector<std::string>& calls, Millis deadline,
                      const std::function<void(const CallStop&)>& at_stop, const std::vector<std::string>& env) {
  std::map<std::uint64_t, std::string> wanted;
  for (const auto& name : calls)
    if (auto found = numbers().find(name); found != numbers().end()) wanted[found->second] = name;
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
  std::vector<char*> names;
  for (const auto& e : env) names.push_back(const_cast<char*>(e.c_str()));
  names.push_back(nullptr);
  pid_t pid = ::fork();
  if (pid < 0) throw os_error("start", argv[0], errno);
  if (pid == 0) {
    ::dup2(to[0], 0);
    ::dup2(from[1], 1);
    if (int null = ::open("/dev/null", O_WRONLY); null >= 0) ::dup2(null, 2);
    if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(126);
    ::raise(SIGSTOP);
    ::execve(raw[0], raw.data(), env.empty() ? environ : names.data());
    ::_exit(127);
  }
  to_read.reset();
  from_write.reset();
  int status = 0;
  StepTraced out;
  if (::waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status)) throw Error("cannot trace here");
  if (::ptrace(PTRACE_SETOPTIONS, pid, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) != 0) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, &status, __WALL);
    throw os_error("trace", argv[0], errno);
  }
  Watchdog watchdog(pid, deadline);
  CallStop stop;
  stop.pid = pid;
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
    stop.before = info.op == PTRACE_SYSCALL_INFO_ENTRY;
    if (stop.before) {
      auto found = wanted.find(info.entry.nr);
      stop.call = found == wanted.end() ? "" : found->second;
      stop.n += !stop.call.empty();
      std::copy_n(info.entry.args, 6, stop.args.begin());
    } else {
      stop.result = info.exit.rval;
    }
    if (stop.call.empty()) continue;
    drain(from_read.get(), out.output);
    stop.output = out.output;
    at_stop(stop);
  }
  out.timed_out = watchdog.end();
  drain(from_read.get(), out.output);
  if (WIFEXITED(status)) out.exit = WEXITSTATUS(status);
  return out;
}

}  // namespace ripcord::test
