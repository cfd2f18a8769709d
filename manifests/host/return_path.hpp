// Where a rollback takes this unit, and whether it could go there at once (readiness). By the journal and the disk; writes nothing.
#pragma once
#include <optional>
#include <string>

#include "manifests/host/history.hpp"
#include "manifests/host/release_folder.hpp"

namespace ripcord {

// Undoing the newest forward operation, when its release is what `current` names (also when that release's folder is gone).
struct ReturnPath {
  bool exists = false;
  std::optional<ReleaseId> to;  // none: back to nothing deployed
};
ReturnPath return_path(const UnitHistory& history, const CurrentLink& current);

// The release of a version that this unit would go back to: the one that was confirmed last, else the one that was staged last.
std::optional<ReleaseId> release_of_version(const UnitHistory& history, const UnitLayout& unit, const std::string& version);

// The link that lay at `current` before a first deployment of `release`, when it was somebody else's.
std::optional<std::string> foreign_link_before(const UnitHistory& history, const std::optional<ReleaseId>& release);

// Does `current` name it? none: nothing is deployed. A release whose folder or metadata is gone is still named.
bool names(const CurrentLink& current, const std::optional<ReleaseId>& release);

// Going back to `to`, and nothing is left to switch: with none, nothing is deployed, or the link lies there that did before `from`.
bool stands_at(const CurrentLink& current, const std::optional<ReleaseId>& to, const UnitHistory& history, const std::optional<ReleaseId>& from);

// From the switch to the confirmation, the last time this release was brought up here; 0: never, or not by this journal.
std::int64_t brought_up_in_ms(const std::vector<JournalRecord>& records, const UnitHistory& history, const ReleaseId& release);

// Fills the back_ members. `version` empty: where return_path() says.
void look_back(const UnitLayout& unit, const std::vector<JournalRecord>& records, const UnitHistory& history, const CurrentLink& current,
               Verify how, const std::string& version, Observation& out);

}  // namespace ripcord
