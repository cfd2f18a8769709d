#include "manifests/host/drain.hpp"

#include <unistd.h>

#include "core/base/files.hpp"

namespace ripcord {
namespace {

std::string drained_file(const UnitLayout& unit) { return unit.state + "/drained"; }

}  // namespace

void note_drained(HostContext& host, const UnitLayout& unit, const std::string& op) {
  auto self = process_id(::getpid()).value_or(ProcessId{});
  json::object o{{"op", op}, {"boot", host.boot_id}, {"pid", self.pid}, {"start", self.start}};
  write_file_durable(drained_file(unit), json::serialize(o) + "\n");
}

bool is_drained(const UnitLayout& unit) { return exists(drained_file(unit)); }

bool drainer_is_alive(const HostContext& host, const UnitLayout& unit) {
  try {
    auto text = read_file_if_exists(drained_file(unit), 4096);
    if (!text) return false;
    auto o = parse_json_object(*text, "the drained note");
    return get_string_or(o, "boot", "") == host.boot_id &&
           is_alive({static_cast<pid_t>(get_int_or(o, "pid", 0)), static_cast<std::uint64_t>(get_int_or(o, "start", 0))});
  } catch (const Error&) {
    return false;
  }
}

StepOutcome undrain(HostContext& host, const UnitLayout& unit, const UnitLock& lock, const UnitHistory& history) {
  if (!is_drained(unit)) return {true, "undrain", ""};
  try {
    CurrentLink current = read_current(unit);
    if (current.release) {
      auto release = ReleaseContext::load(host, unit, *current.release, history);
      if (release.spec.undrain) {
        StepOutcome done = run_action(release, *release.spec.undrain, "undrain", StepGate(host, unit, lock));
        if (!done.ok) return done;
      }
    }
  } catch (const Error& e) {
    return StepOutcome::failed("undrain", e.what());
  }
  ::unlink(drained_file(unit).c_str());
  return {true, "undrain", ""};
}

}  // namespace ripcord
