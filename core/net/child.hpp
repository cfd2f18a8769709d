// Child processes on the event loop: started without a shell and without fork's copy of a large process, noticed when they
// end, reaped without blocking.
#pragma once
#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/async.hpp"
#include "core/base/clock.hpp"
#include "core/base/error.hpp"
#include "core/base/files.hpp"

namespace ripcord {

struct ChildSpec {
  std::vector<std::string> argv;             // argv[0] is looked up in PATH when it has no slash
  std::vector<std::string> environment;      // NAME=value, added to our own
  int in = -1, out = -1, err = -1;           // become 0, 1, 2; -1 is /dev/null. Still the caller's to close
};

class StartError : public Error {
 public:
  StartError(const std::string& program, int code) : Error(os_error("start", program, code)), code_(code) {}
  int code() const { return code_; }  // errno of the exec

 private:
  int code_;
};

// A running child: in a session of its own (the terminal's Ctrl-C does not reach it), with no other descriptor of ours and the
// default signal mask. It is not killed when this object goes: a task on the loop stays behind and reaps it.
class Child {
 public:
  // StartError when it cannot be started.
  static std::unique_ptr<Child> start(Loop& loop, Clock& clock, const ChildSpec& spec);
  ~Child();
  pid_t pid() const;
  std::optional<int> exited() const;         // wait status, as far as known now
  Task<std::optional<int>> wait(Elapsed deadline);  // nullopt: it still runs
  void kill(int signal);                     // does nothing once it ended

 private:
  struct State;
  static Task<> reap(std::shared_ptr<State> state);
  explicit Child(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

struct ChildResult {
  bool timed_out = false;
  int status = -1;                           // exit code; 128 + n when signal n ended it
  std::string out, err;
};

// Runs a program to its end, or kills it at the deadline. Output beyond 4 MiB is an Error.
Task<ChildResult> run_child(Loop& loop, Clock& clock, std::vector<std::string> argv, Elapsed deadline);

}  // namespace ripcord
