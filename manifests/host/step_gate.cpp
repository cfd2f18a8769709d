#include "manifests/host/step_gate.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>

#include "manifests/host/slot_file.hpp"

namespace ripcord {
namespace {

std::string hook_file(const UnitLayout& unit) { return unit.state + "/hook"; }

}  // namespace

void StepGate::require_own() const {
  struct stat st {};
  std::int64_t size = ::stat(unit_.journal().c_str(), &st) == 0 ? st.st_size : -1;
  if (size >= 0 && size == own_at_) return;
  UnitHistory history = fold(Journal(unit_).records());
  const Operation* found = history.find(op_);
  if (!found) throw OperationEnded(OpState{.op = op_});
  if (found->state.phase != OpPhase::activated || history.open() != found) throw OperationEnded(state_of(*found, host_));
  own_at_ = size;
}

OperationEnded::OperationEnded(OpState found)
    : Error(fmt::format("operation '{}' was ended meanwhile: it is {}", found.op, to_text(found.phase))), found_(std::move(found)) {}

void StepGate::note(const std::function<void()>& write) const {
  if (held_) return write();
  UnitLock lock(host_, unit_, "step of " + op_);
  require_own();
  write();
}

void StepGate::check() const {
  if (!held_) require_own();
}

void reserve_hook(const UnitLayout& unit) { reserve_slot(hook_file(unit)); }

void note_hook(const UnitLayout& unit, const std::string& boot, const ProcessId& leader) {
  try {
    write_slot(hook_file(unit), {{"pid", leader.pid}, {"start", leader.start}, {"boot", boot}});
  } catch (const HostFailure& e) {
    // A full disk must not keep the old release from being started; the slot was allocated in advance, so this is a file system
    // that writes elsewhere than where the bytes were. The hook's own deadline still bounds it.
    if (e.code() != "no_space") throw;
  }
}

void forget_hook(const UnitLayout& unit) {
  try {
    if (exists(hook_file(unit))) write_slot(hook_file(unit), {});
  } catch (const Error&) {  // the process is gone; kill_hook() compares its start time
  }
}

void kill_hook(const UnitLayout& unit, const std::string& boot) {
  auto slot = read_slot(hook_file(unit));
  if (!slot || get_string_or(*slot, "boot", "") != boot) return;
  ProcessId leader{static_cast<pid_t>(get_int_or(*slot, "pid", 0)), static_cast<std::uint64_t>(get_int_or(*slot, "start", 0))};
  auto now = process_id(leader.pid);
  if (now && now != leader) return;  // its number was given to another
  // The leader may be gone and its children not: the kernel keeps a number from being given out while it names a group or session.
  for (int i = 0; i < 3 && signal_group(leader.pid, SIGKILL, true); ++i) {
  }
  forget_hook(unit);
}

}  // namespace ripcord
