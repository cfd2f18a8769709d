// What happens once a rollout, not once a host: a schema change, a cache that is filled (`once:` of plan.yaml). It runs on the machine
// that runs the rollout, before a stage starts, and never on the way back. Intent is durable before it starts; when nobody saw how
// it ended, `check` may know, and else a person decides: a change of a schema is not tried twice on a guess.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "core/base/async.hpp"
#include "core/base/clock.hpp"
#include "core/base/json.hpp"
#include "core/base/text.hpp"

namespace ripcord {

struct OnceSpec {
  int stage = 0;                    // runs before this one starts
  std::string before;               // its name
  std::vector<std::string> run;     // no shell; the fleet file's folder is the working directory
  std::vector<std::string> check;   // exit 0: it has been done. Empty: nobody can tell
  Millis deadline{600000};
  std::string text() const { return join(run, " "); }
};

json::object to_json(const OnceSpec& once);
OnceSpec once_from_json(const json::object& o);

struct OnceState {
  enum class Phase { due, intended, done, failed, unknown };
  Phase phase = Phase::due;
  bool busy = false;     // this process is at it
  std::string reason;    // of failed, unknown
  bool waits() const { return phase == Phase::failed || phase == Phase::unknown; }
};

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
