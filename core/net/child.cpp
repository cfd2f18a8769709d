#include "core/net/child.hpp"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "core/base/error.hpp"

namespace ripcord {
namespace {

constexpr std::uint64_t kOutputLimit = 4u << 20;

// posix_spawn, because fork in a process with threads and a large heap is slow and deadlock-prone.
class SpawnPlan {
 public:
  SpawnPlan() {
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_init(&attributes_);
  }
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  void stdio(int from, int to) {
    if (from < 0) posix_spawn_file_actions_addopen(&actions_, to, "/dev/null", to == 0 ? O_RDONLY : O_WRONLY, 0);
    else posix_spawn_file_actions_adddup2(&actions_, from, to);
  }

  pid_t run(const ChildSpec& spec) {
    std::vector<std::string> env = spec.environment;
    for (char** e = environ; *e; ++e) env.emplace_back(*e);
    std::vector<char*> argv, envp;
    for (const auto& a : spec.argv) argv.push_back(const_cast<char*>(a.c_str()));
    for (const auto& e : env) envp.push_back(const_cast<char*>(e.c_str()));
    argv.push_back(nullptr);
    envp.push_back(nullptr);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawn_file_actions_addclosefrom_np(&actions_, 3);
    pid_t pid = 0;
    int error = posix_spawnp(&pid, argv[0], &actions_, &attributes_, argv.data(), envp.data());
    if (error != 0) throw StartError(spec.argv[0], error);
    return pid;
  }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

}  // namespace

struct Child::State {
  State(Loop& l, Clock& c, pid_t p) : loop(l), clock(c), pid(p), pidfd(static_cast<int>(::syscall(SYS_pidfd_open, p, 0))) {
    if (pidfd) watch.emplace(loop, pidfd.get());
  }
  Loop& loop;
  Clock& clock;
  pid_t pid;
  Fd pidfd;                      // becomes readable when the child ends
  ManualClock never{WallTime{}};  // for reap(), which waits as long as it takes and may do so longer than the real clock lives
  std::optional<FdWatch> watch;  // after pidfd: goes first
  std::optional<int> status;

  bool look() {
    if (status) return true;
    int raw = 0;
    pid_t got = ::waitpid(pid, &raw, WNOHANG);
    if (got == pid) status = raw;
    else if (got < 0 && errno == ECHILD) status = 0;  // somebody else reaped it: nothing more to learn
    return status.has_value();
  }
};

std::unique_ptr<Child> Child::start(Loop& loop, Clock& clock, const ChildSpec& spec) {
  SpawnPlan plan;
  plan.stdio(spec.in, 0);
  plan.stdio(spec.out, 1);
  plan.stdio(spec.err, 2);
  pid_t pid = plan.run(spec);
  return std::unique_ptr<Child>(new Child(std::make_shared<State>(loop, clock, pid)));
}

Child::~Child() {
  if (!state_->look()) spawn(state_->loop, reap(state_));
}

Task<> Child::reap(std::shared_ptr<State> state) {
  const Elapsed never{INT64_MAX};
  while (state->watch && !state->look()) co_await state->watch->wait(true, false, state->never, never);
}

pid_t Child::pid() const { return state_->pid; }

std::optional<int> Child::exited() const {
  state_->look();
  return state_->status;
}

Task<std::optional<int>> Child::wait(Elapsed deadline) {
  auto state = state_;
  while (!state->look()) {
    if (!state->watch) throw Error("cannot watch a child process: pidfd_open failed");
    bool in_time = co_await state->watch->wait(true, false, state->clock, deadline);
    if (!in_time) break;
  }
  state->look();
  co_return state->status;
}

void Child::kill(int signal) {
  if (!state_->look()) ::kill(state_->pid, signal);  // not yet reaped, so the number is still ours
}

Task<ChildResult> run_child(Loop& loop, Clock& clock, std::vector<std::string> argv, Elapsed deadline) {
  // Output goes to memory files: nothing to read while it runs, and a grandchild that keeps them open holds nobody up.
  Fd out(::memfd_create("out", MFD_CLOEXEC)), err(::memfd_create("err", MFD_CLOEXEC));
  if (!out || !err) throw os_error("create", "a memory file", errno);
  ChildSpec spec;
  spec.argv = argv;
  spec.out = out.get();
  spec.err = err.get();
  auto child = Child::start(loop, clock, spec);
  auto status = co_await child->wait(deadline);
  ChildResult result;
  if (!status) {
    result.timed_out = true;
    child->kill(SIGKILL);
  } else {
    result.status = WIFEXITED(*status) ? WEXITSTATUS(*status) : 128 + WTERMSIG(*status);
  }
  result.out = read_file("/proc/self/fd/" + std::to_string(out.get()), kOutputLimit);
  result.err = read_file("/proc/self/fd/" + std::to_string(err.get()), kOutputLimit);
  co_return result;
}

}  // namespace ripcord
