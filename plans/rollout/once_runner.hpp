// The programs of `once:`, run on the machine that runs the rollout.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/base/async.hpp"
#include "core/base/clock.hpp"

namespace ripcord {

struct OnceOutcome {
  enum class Kind { done, failed, unknown } kind = Kind::unknown;
  std::string text, output;  // "exit status 1"; the last lines it printed
};

// Runs a program to its end or deadline, without holding up the loop. Tests have their own.
class OnceRunner {
 public:
  virtual ~OnceRunner() = default;
  virtual Task<OnceOutcome> run(std::vector<std::string> argv, std::map<std::string, std::string> environment, Millis deadline) = 0;
};
std::unique_ptr<OnceRunner> make_once_runner(Clock& clock, std::string folder);

}  // namespace ripcord
