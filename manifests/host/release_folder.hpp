// Releases on this host: the tree under <unit_root>/releases/<folder>, exactly what was sealed, and what we know about it under
// <state>/units/<unit>/releases/<folder>: id, manifest, signature, tree, stat, templates/<sha256>.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "manifests/host/host_context.hpp"
#include "manifests/shared/manifest.hpp"
#include "manifests/shared/tree.hpp"

namespace ripcord {

struct StoredRelease {
  ReleaseId id;
  Tree tree;
  unsigned uid = 0, gid = 0;  // owner of the release's files, resolved when it was staged
};

// Complete releases: metadata and folder are both there. Cheap (one small file each).
std::vector<ReleaseId> releases_on_host(const UnitLayout& unit);

// By folder name ("1.1-0123456789ab"). nullopt when there is no such release; HostFailure damaged when its metadata is unreadable.
std::optional<StoredRelease> load_release(const UnitLayout& unit, const std::string& folder);
// As load_release, with the ids checked: HostFailure missing_release when it is absent or another manifest or tree.
StoredRelease require_release(const UnitLayout& unit, const ReleaseId& id);

SealedManifest stored_manifest(const UnitLayout& unit, const std::string& folder);  // bytes and signature
Manifest load_manifest(const UnitLayout& unit, const std::string& folder);          // decoded; HostFailure damaged
// Only what the unit's author says in it: of two thousand files, nine tenths of the manifest are not looked at. HostFailure damaged.
UnitSpec load_spec(const UnitLayout& unit, const std::string& folder);

struct VerifyResult {
  std::vector<Finding> findings;   // at most kMaxFindings, and `more` beyond them
  std::uint64_t more = 0, hashed = 0;
  bool clean() const { return findings.empty(); }
};
inline constexpr std::size_t kMaxFindings = 50;

// none: no findings. quick: what differs from the stat cache is hashed. full: everything is hashed. Writes nothing.
VerifyResult verify_release(const UnitLayout& unit, const StoredRelease& release, Verify how);

// What `current` is.
struct CurrentLink {
  Observation::Current kind = Observation::Current::none;
  std::string target;                // raw text of the link
  std::string folder;                // release, broken: the folder it names, when it is a name of ours
  std::optional<ReleaseId> release;  // kind release
};
CurrentLink read_current(const UnitLayout& unit);

// Puts a damaged release right from other verified releases on this host (INVARIANTS r2); the damaged folder is kept beside it as
// .damaged-<folder>-<random>. False when it cannot be made whole from what is here: nothing was changed.
class UnitLock;
bool heal_release(HostContext& host, const UnitLayout& unit, const UnitLock& lock, const ReleaseId& id);

}  // namespace ripcord
