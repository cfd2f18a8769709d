// Which process a run: service is: <state>/units/<unit>/services/<name>, a slot written before the process executes anything.
#pragma once
#include <optional>
#include <string>

#include "core/base/process.hpp"
#include "manifests/host/layout.hpp"

namespace ripcord {

void reserve_note(const UnitLayout& unit, const std::string& service);
void note_process(const UnitLayout& unit, const std::string& service, const std::string& boot, const ProcessId& process,
                  const std::string& release_folder);
// The noted process, when it is of this boot and something of its group is still alive.
std::optional<ProcessId> noted_process(const UnitLayout& unit, const std::string& service, const std::string& boot);
std::optional<ProcessId> last_noted(const UnitLayout& unit, const std::string& service);  // dead or alive

}  // namespace ripcord
