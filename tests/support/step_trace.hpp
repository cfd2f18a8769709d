// A program stopped before and after each of its calls that make something durable or move a name, by ptrace: what is looked at while
// it stands is what was so at that very moment, and one run goes through all of them.
#pragma once
#include <sys/types.h>

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/text.hpp"

namespace ripcord::test {

struct CallStop {
  std::string call;        // "fsync"
  int n = 0;               // the n-th of all that were stopped at
  bool before = true;      // else: it has returned
  std::string_view output; // all that the program has written to its standard output so far
  pid_t pid = 0;
  std::array<std::uint64_t, 6> args{};
  std::int64_t result = 0; // once it has returned

  std::string text(std::size_t arg) const;                         // a string argument; "" when it cannot be read
  std::string file(std::size_t arg) const;                         // what a descriptor is, by /proc: "/srv/x", "pipe:[1]"; "" when it is none
  std::string path(std::size_t folder, std::size_t name) const;    // of an ...at() call; absolute
  std::string path(std::size_t name) const;                        // of a call without a folder
};

struct StepTraced {
  int exit = -1;
  std::string output;
  bool timed_out = false;
};

bool step_trace_works();  // this container lets it trace

// What makes something durable or moves a name.
extern const std::vector<std::string> kNameCalls;

// `input` is on its standard input from the start, which then stays open until the program ends; what it says on standard
// error goes nowhere. Only the program itself is
// followed, not its threads and children; `env`: instead of this process's. Error when it cannot be traced.
StepTraced step_trace(const std::vector<std::string>& argv, const std::string& input, const std::vector<std::string>& calls, Millis deadline,
                      const std::function<void(const CallStop&)>& at_stop, const std::vector<std::string>& env = {});

}  // namespace ripcord::test
