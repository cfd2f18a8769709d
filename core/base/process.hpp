// Programs as children: no shell, no inherited descriptors, every wait with a deadline. Blocking; safe in a threaded program
// (between fork and exec only async-signal-safe calls are made).
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/base/text.hpp"

namespace ripcord {

// A process, and not another one that got its number later. Valid within one boot.
struct ProcessId {
  pid_t pid = 0;
  std::uint64_t start = 0;  // clock ticks since boot: field 22 of /proc/<pid>/stat
  bool operator==(const ProcessId&) const = default;
};
std::optional<ProcessId> process_id(pid_t pid);  // nullopt: no such process, or a zombie
bool is_alive(const ProcessId& process);         // false for zombies as well
std::uint64_t process_start_now();               // "now" on the scale of ProcessId::start

// What a child of ours ended with.
struct ProcessEnd {
  int exit = -1;   // exit status, or -1
  int signal = 0;  // what killed it, or 0
  std::string text() const;  // "exit status 3", "killed by SIGSEGV"
};
// Collects a child started with start_detached, if it has ended. nullopt: it runs, or is no child of this process.
std::optional<ProcessEnd> reap(pid_t pid);

struct UserIds {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
};

struct Command {
  std::vector<std::string> argv;                // argv[0] without a slash is looked up in PATH of `env`
  std::string cwd;                              // empty: this process's
  std::optional<std::vector<std::string>> env;  // "NAME=value"; nullopt: this process's
  std::string input;                            // its standard input; empty: /dev/null
  std::optional<UserIds> user;                  // become this user (needs root)
  std::optional<unsigned> umask;                // nullopt: this process's
  // Called with the child's pid (it leads its own session and group) before the program is executed: the child waits until it
  // returns, and exits without executing anything when it throws or when this process dies meanwhile.
  std::function<void(const ProcessId&)> before_exec;
};

struct RunResult {
  int exit = -1;           // exit status; -1 when killed by a signal
  int signal = 0;
  bool timed_out = false;  // killed at the deadline, with every process of its group and session
  std::string output;      // the last `keep` bytes of standard output and error, as they came
  bool truncated = false;  // there was more output before that
  bool ok() const { return exit == 0 && !timed_out; }
  std::string text() const;  // "exit status 3", "killed by SIGSEGV", "did not end within 30s and was killed"
};

// Runs to the end. A program that cannot be started is an Error naming it. A child of it that keeps the output open (a daemon
// that did not redirect it) is not waited for.
RunResult run_process(const Command& command, Millis deadline, std::size_t keep = 8192);

// Starts a program in its own session that outlives this process; output is appended to `log` (created 0640, or /dev/null when
// empty). Returns when it was executed; a program that cannot be started is an Error.
ProcessId start_detached(const Command& command, const std::string& log);

// As above, with an open descriptor for its output instead of a file.
ProcessId start_detached(const Command& command, int output);

// Is any process, zombies aside, left in the group that `leader` leads or led?
bool group_is_alive(pid_t leader);

// Signals every process of the group that `leader` leads (or led), and of its session when `session`. False: none is there.
bool signal_group(pid_t leader, int signal, bool session = false);

}  // namespace ripcord
