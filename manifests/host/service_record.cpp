#include "manifests/host/service_record.hpp"

#include "core/base/files.hpp"
#include "core/base/text.hpp"
#include "manifests/host/host_failure.hpp"
#include "manifests/host/slot_file.hpp"

namespace ripcord {
namespace {

std::string record_file(const UnitLayout& unit, const std::string& service) {
  if (service.empty() || service[0] == '.' || service.find('/') != std::string::npos)
    throw HostFailure("bad_path", "'" + escape_terminal(service) + "' cannot be the name of a service");
  return unit.state + "/services/" + service;
}

struct Note {
  ProcessId process;
  std::string boot;
};

std::optional<Note> read_note(const UnitLayout& unit, const std::string& service) {
  auto slot = read_slot(record_file(unit, service));
  if (!slot || slot->empty()) return std::nullopt;
  return Note{{static_cast<pid_t>(get_int_or(*slot, "pid", 0)), static_cast<std::uint64_t>(get_int_or(*slot, "start", 0))},
              get_string_or(*slot, "boot", "")};
}

}  // namespace

void reserve_note(const UnitLayout& unit, const std::string& service) {
  make_dirs(unit.state + "/services");
  reserve_slot(record_file(unit, service));
}

void note_process(const UnitLayout& unit, const std::string& service, const std::string& boot, const ProcessId& process,
                  const std::string& release_folder) {
  make_dirs(unit.state + "/services");
  write_slot(record_file(unit, service),
             {{"pid", process.pid}, {"start", process.start}, {"boot", boot}, {"release", release_folder}});
}

std::optional<ProcessId> noted_process(const UnitLayout& unit, const std::string& service, const std::string& boot) {
  auto note = read_note(unit, service);
  if (!note || note->boot != boot || note->process.pid <= 1) return std::nullopt;
  auto now = process_id(note->process.pid);
  if (now) return *now == note->process ? std::optional(note->process) : std::nullopt;
  // The main process is gone; children of its group that live on still are the service's, and hold its ports.
  if (group_is_alive(note->process.pid)) return note->process;
  return std::nullopt;
}

std::optional<ProcessId> last_noted(const UnitLayout& unit, const std::string& service) {
  auto note = read_note(unit, service);
  return note ? std::optional(note->process) : std::nullopt;
}

}  // namespace ripcord
