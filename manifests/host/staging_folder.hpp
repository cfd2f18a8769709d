// <releases>/.staging-<version>-<random>: where a release is written before it has a name. Locked by whoever writes it, so that the
// ones of dead sessions can be told and removed. Removed with all it holds unless it was renamed away.
#pragma once
#include <string>

#include "manifests/host/beneath.hpp"
#include "manifests/host/layout.hpp"

namespace ripcord {

class StagingFolder {
 public:
  StagingFolder(const UnitLayout& unit, const std::string& version);
  ~StagingFolder();
  StagingFolder(const StagingFolder&) = delete;
  StagingFolder& operator=(const StagingFolder&) = delete;

  Beneath& files() { return files_; }
  // Renames it to <releases>/<folder>, durably. What lies there already is exchanged with it and kept as
  // .damaged-<folder>-<random>, whose name is returned.
  std::string move_to(const std::string& folder);

 private:
  std::string releases_, name_;
  Fd parent_;
  Beneath files_;
  bool moved_ = false;
};

// Removes staging folders that no process holds, and those of metadata when no release is being staged: metadata is staged only
// while its release is. Under the unit's lock, as the making of a StagingFolder. Never throws: what cannot be removed is in nobody's
// way.
void remove_dead_staging(const UnitLayout& unit);

// Renames a folder beside its target into place; an existing target is replaced and removed. Durable.
void move_metadata(const UnitLayout& unit, const std::string& staged, const std::string& folder);

}  // namespace ripcord
