// What happens once a rollout, not once a host: a schema change, a cache that is filled (`once:` of plan.yaml). It runs on the machine
// that runs the rollout, before a stage starts, and never on the way back. Intent is durable before it starts; when nobody saw how
// it ended, `check` may know, and else a person decides: a change of a schema is not tried twice on a guess.
#pragma once
#include <string>
#include <vector>

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

}  // namespace ripcord
