// Which releases of a unit may go: pure, from what the journal and the disk say. A release that anything could still go back to, or
// that anything runs, stays, whatever its age.
#pragma once
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "manifests/host/history.hpp"
#include "manifests/shared/retention.hpp"

namespace ripcord {

struct RetentionFacts {
  std::vector<ReleaseId> releases;              // complete ones on disk
  std::optional<std::string> current;           // folder that the link names
  std::set<std::string> in_use;                 // folders that processes run from, have mapped or stand in
  std::optional<std::string> armed_back;        // folder that the armed operation goes back to
};

struct Fate {
  ReleaseId release;
  enum class What { keep, mark, remove } what = What::keep;
  std::string why;
};

// `now`: the earlier of the host's clock and the controller's. One fate a release, in the order given.
std::vector<Fate> judge_retention(const std::vector<JournalRecord>& records, const UnitHistory& history, const RetentionFacts& facts,
                                  const PruneRequest& rules, WallTime now);

}  // namespace ripcord
