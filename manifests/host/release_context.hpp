// A release on this host with what its actions need: the sealed spec, its variables, environment and secrets.
#pragma once
#include <optional>
#include <string>

#include "core/base/process.hpp"
#include "manifests/host/history.hpp"
#include "manifests/host/mask.hpp"
#include "manifests/host/release_folder.hpp"

namespace ripcord {

struct ReleaseContext {
  StoredRelease release;
  UnitSpec spec;
  Layout layout;
  UnitLayout unit;
  std::string folder;      // absolute path of the release folder
  Labels variables;        // for [template] strings
  std::string host_name, boot_id;
  Labels labels;
  Mask mask;

  // HostFailure missing_release, damaged.
  static ReleaseContext load(const HostContext& host, const UnitLayout& unit, const ReleaseId& id, const UnitHistory& history);
  // Of what was loaded already.
  static ReleaseContext of(const HostContext& host, const UnitLayout& unit, StoredRelease release, UnitSpec spec, const UnitHistory& history);

  std::string text(const std::string& text, const std::string& where) const;  // [template] rendered; Error
  // Rendered, with the program taken from the release folder when it is relative and holds a slash or lies there.
  Argv argv(const Argv& argv, const std::string& where) const;
  // Runs in the release folder with a small environment (docs/activation.md). The user is the owner, when we are root.
  Command command(const Argv& rendered) const;
  Command command_as_owner(const Argv& rendered) const;

 private:
  std::vector<std::string> environment(const std::string& home) const;
};

// What a step of the unit came to. Output is masked and may be kept.
struct StepOutcome {
  bool ok = true;
  std::string step;    // drain, stop, start, restart, reload, health, running, undrain
  std::string output;  // what failed and the last 8 KiB it wrote
  static StepOutcome failed(std::string step, std::string output) { return {false, std::move(step), std::move(output)}; }
};

class StepGate;
// Runs one action of the unit in its own session, noted by the gate, under its deadline. OperationEnded passes through.
StepOutcome run_action(const ReleaseContext& release, const Action& action, const std::string& step, const StepGate& gate);

}  // namespace ripcord
