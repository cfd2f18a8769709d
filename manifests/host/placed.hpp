// files: of a unit, which lie outside its folder. New bytes are written beside each file and renamed in; its old bytes stay beside
// it until the operation is terminal, so that the way back is one rename a file. Owners resolve by getent.
#pragma once
#include <string>
#include <vector>

#include "manifests/host/pending.hpp"
#include "manifests/host/release_context.hpp"

namespace ripcord {

struct Placement {
  PlacedWay way;
  bool comes = false;  // new bytes are to be renamed in; else the file goes (the running release placed it, the coming one does not)
  PlacedFile file;     // comes
  bool edited = false;  // what lies there is not what the running release put there: somebody's work
};

// What must change to go from `running` to `coming` (null: none). Files that are right already are left out. HostFailure conflict:
// something lies there that no release of this unit placed; bad_path: it is not a regular file, or the path is not clean.
std::vector<Placement> plan_placed(const ReleaseContext* running, const ReleaseContext* coming, const UnitHistory& history);

// New bytes beside each, durable; with `save_old` also the old ones. HostFailure.
void prepare_placed(const std::vector<Placement>& plan, const ReleaseContext* coming, bool save_old);
// What somebody edited by hand is kept as evidence before it is replaced or removed: a copy of each in
// releases/.damaged-<running>-<digest>/, under whose rules it is pruned. "<path>, kept in <folder>" of each. HostFailure.
std::vector<std::string> keep_edited(const std::vector<Placement>& plan, const ReleaseContext& running);
// Renames them in, idempotent; the folders are fsynced.
void switch_placed(const std::vector<Placement>& plan);
// The way back: old bytes renamed in, files that did not exist removed; idempotent. Allocates nothing.
void restore_placed(const std::vector<PlacedWay>& ways);

// What the release says lies where, for whoever only looks. HostFailure no_user, bad_path.
struct PlacedExpectation {
  std::string path;
  const TreeEntry* source;  // of the release that was asked
  unsigned mode;
  UserIds owner;
};
std::vector<PlacedExpectation> expected_placed(const ReleaseContext& release);

std::vector<PlacedWay> ways_of(const std::vector<Placement>& plan);
json::array to_json(const std::vector<Placement>& plan);       // for the INTENT record: [{"path","existed","comes"}]
std::vector<Placement> placements_of(const json::object& intent);  // and back, to go on after a crash: without `file`
void forget_prepared(const std::vector<Placement>& plan);          // of an operation that will not switch

}  // namespace ripcord
