// A program stopped before and after each of its calls that make something durable or move a name, by ptrace: what is looked at while
// it stands is what was so at that very moment, and one run goes through all of them.
#pragma once
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
};

struct StepTraced {
  int exit = -1;
  std::string output;
  bool timed_out = false;
};

bool step_trace_works();  // this container lets it trace

// `input` is on its standard input from the start, which then stays open until the program ends. Only the program itself is
// followed, not its threads and children. Error when it cannot be traced.
StepTraced step_trace(const std::vector<std::string>& argv, const std::string& input, Millis deadline, const std::function<void(const CallStop&)>& at_stop);

}  // namespace ripcord::test
