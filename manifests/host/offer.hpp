// An offered release as this host sees it: who sealed it, what tree it becomes here, and what is lacking for that.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "manifests/host/local_objects.hpp"
#include "manifests/shared/messages.hpp"

namespace ripcord {

struct PreparedRelease {
  UnitLayout unit;
  SealedManifest sealed;
  Digest digest;              // of the manifest
  Manifest manifest;
  HostFacts facts;
  std::map<Digest, std::string> templates;  // sources, as far as they are here
  std::vector<Digest> templates_lacking;
  Tree tree;                  // with templates lacking: paths, modes and sources are right, rendered files and the digest are not

  bool tree_known() const { return templates_lacking.empty(); }
  ReleaseId id() const { return {manifest.spec.version, digest, tree_known() ? tree.digest : Digest{}}; }
  // Makes the tree from the templates that are here now.
  void make();
  // The variables that make_tree renders with.
  Labels variables() const;
};

// Judges the signature first, then reads the manifest. HostFailure untrusted, bad_request (the manifest cannot be used, or is of
// another unit or root), bad_path.
PreparedRelease prepare(const HostContext& host, const StageOffer& offer, LocalObjects& objects);
// The same without the question who sealed it: for what is on this host already.
PreparedRelease lay_out(const UnitLayout& unit, SealedManifest sealed, HostFacts facts, LocalObjects& objects);

// As the reply tells it: complete when the release is here and quick-verified. HostFailure no_user, no_space, conflict.
StageReply judge_offer(const PreparedRelease& prepared, LocalObjects& objects);

// Owner of the release's files: the unit's when we are root, else whoever we are. HostFailure no_user.
struct Owner {
  unsigned uid = 0, gid = 0;
};
Owner owner_of(const UnitSpec& spec);

// HostFailure no_space with the numbers when `bytes` and `inodes` more do not fit where the unit lies.
void check_space(const UnitLayout& unit, const Tree& tree);

}  // namespace ripcord
