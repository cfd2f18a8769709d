#pragma once
#include <map>
#include <set>
#include <string>

#include "manifests/shared/tree.hpp"
#include "plans/files/fleet.hpp"
#include "plans/hosts/release_on_hand.hpp"

namespace ripcord {

// The tree a host would get. Hosts with the same labels that matter share one computation.
class TreeMaker {
 public:
  TreeMaker(const ReleaseOnHand& release, const ReleaseStore& store);
  const Tree& tree_for(const Host& host, const std::string& arch);

 private:
  const ReleaseOnHand& release_;
  const ReleaseStore& store_;
  std::map<std::string, Tree> by_facts_;
  std::map<Digest, std::string> templates_;
  std::set<std::string> variables_;  // that templates use
  bool has_host_overlays_ = false;
};

}  // namespace ripcord
