// Does the running process really run this release? One pass over /proc: exe and cwd of every process, maps only of those that must
// be judged and lie nowhere else. Processes that we may not look at (not ours, and we are not root) are not seen.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "manifests/host/release_context.hpp"

namespace ripcord {

struct RunningRule {
  std::uint64_t not_before = 0;  // ProcessId::start at the switch; 0: of another boot, or not known
  bool restarted_all = true;     // false: some services were only reloaded or left alone (on_config_change): their processes may be
                                 // older than the switch and lie in another release of the unit
  bool replaced_too = false;     // also find processes whose executable was replaced under them (drift scans)
};

struct ProcessFinding {
  enum class Kind { not_running, other_release, deleted_binary, not_restarted } kind;
  std::string what;  // masked
};
std::string_view to_text(ProcessFinding::Kind kind);
// Everything that is wrong with the unit's processes; empty: they run this release.
std::vector<ProcessFinding> running_findings(const ReleaseContext& release, const RunningRule& rule);

// By the unit's `running:`; a unit without services passes. step "running", and the output says which process, and where it lies.
StepOutcome check_running(const ReleaseContext& release, const RunningRule& rule);

struct UnitProcess {
  pid_t pid = 0;
  std::string folder;         // of the release it lies in
  std::string by;             // "exe" | "cwd"
  std::string path;           // what lies there
  bool interactive = false;   // has a terminal: a person's shell whose cwd is there
};
// Every process whose exe or cwd lies in a release of the unit.
std::vector<UnitProcess> unit_processes(const UnitLayout& unit);
// One of them that nobody here has started, for a message; a person's shell is none.
std::optional<std::string> left_running(const UnitLayout& unit);

}  // namespace ripcord
