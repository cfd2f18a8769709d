// The one exception type, and the exit codes a script may rely on.
//
// "Cannot do it" is an Error, thrown where it is noticed and caught at task roots and in main. What a host or a gate
// said is a value (Outcome, Verdict), never an Error.
#pragma once
#include <exception>
#include <string>
#include <vector>

namespace ripcord {

// Exit codes (docs/exit-codes.md). Worst wins: integrity > held > mixed > unreachable > failed > waiting > drift > done.
enum class Exit : int {
  done = 0,
  error = 1,
  drift = 2,
  failed = 3,        // failed, and every touched host was observed on its old release
  unreachable = 4,   // some hosts unreachable, unknown or owed
  mixed = 5,         // hosts observed where they should not be: a person must look
  waiting = 6,       // paused, baking, window, approval, inconclusive
  held = 7,          // lease, fence, halt
  refused = 8,       // stale plan, missing target or confirmation; nothing was changed
  integrity = 9,     // signature, host key, ledger
  usage = 64,
  invalid_file = 65,
};

// The worse of two outcomes, by the order above.
Exit worst(Exit a, Exit b);

class Error : public std::exception {
 public:
  // what: what failed and why, lower case, subject quoted. hint: what to do next, may be empty.
  explicit Error(std::string what, std::string hint = {}, Exit exit = Exit::error);

  // Adds "while ..." around the message; innermost first.
  Error& during(std::string context);

  const char* what() const noexcept override { return full_.c_str(); }
  const std::string& message() const { return message_; }
  const std::string& hint() const { return hint_; }
  Exit exit() const { return exit_; }

 private:
  std::string message_, hint_, full_;
  std::vector<std::string> context_;
  Exit exit_;
};

// errno as text, thread-safe: "No space left on device (ENOSPC)".
std::string errno_text(int error);

// An Error for a failed system call: `cannot <action> '<path>': <errno_text>`.
Error os_error(const std::string& action, const std::string& path, int error);

}  // namespace ripcord
