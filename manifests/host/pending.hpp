// The armed operation of a unit (<state>/units/<unit>/pending): everything the way back needs, written before the switch. Removed
// when the operation is terminal. Records of older helpers are read as they are: every member but op has a default.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "core/base/process.hpp"
#include "manifests/host/history.hpp"

namespace ripcord {

struct PlacedWay {           // the way back of one placed file
  std::string path;          // absolute, on this host
  bool existed = false;      // before the switch: its old bytes are in old_name(path)
  std::string old_name() const;  // beside it: .<name>.ripcord-old
  std::string new_name() const;  // beside it: .<name>.ripcord-new
};

struct Pending {
  std::string op, boot, strength = "weak";
  Elapsed deadline{};                    // on CLOCK_BOOTTIME of `boot`
  ProcessId deadman;                     // weak: the process that waits
  std::string timer;                     // strong: the name of the init system's unit, without suffix
  std::optional<std::string> back;       // raw target of the prepared link; none: `current` did not exist
  std::vector<PlacedWay> files;
  bool says_back = true, says_files = true;  // false: an older helper's record is silent about it, and the journal knows
  bool overdue(const HostContext& host) const { return boot != host.boot_id || deadline <= host.elapsed(); }
};

std::string back_link(const UnitLayout& unit, const std::string& op);  // <unit_root>/.back-<op>
std::string next_link(const UnitLayout& unit, const std::string& op);  // <unit_root>/.next-<op>

void write_pending(const UnitLayout& unit, const Pending& pending);    // durable
Pending pending_from(const Operation& op);                             // as the journal remembers it, when the file is gone
Pending completed(Pending pending, const Operation& op);               // silent members taken from the journal
std::optional<Pending> read_pending(const UnitLayout& unit);           // HostFailure journal_damaged when it cannot be read
// Ends it: old bytes, prepared links and the record are removed, in this order. What is not there is fine.
void remove_pending(const UnitLayout& unit, const Pending& pending);

}  // namespace ripcord
