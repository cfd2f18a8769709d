// What a controller's store lacks of a release, from hosts that hold it: by digest, hashed here, kept in the store. So a rollout
// goes on from any machine that reaches the ledger, not only from the one that sealed the release.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "core/net/turns.hpp"
#include "manifests/release_store.hpp"
#include "plans/hosts/host_port.hpp"
#include "plans/hosts/pack_source.hpp"

namespace ripcord {

class HostObjects {
 public:
  // `ports`: sessions of its own, because the engine is talking on the others. `holders`: hosts in the order in which they are asked.
  // All outlive it.
  HostObjects(ReleaseStore& store, HostPorts& ports, UnitRef unit, std::vector<std::string> holders)
      : store_(store), ports_(ports), unit_(std::move(unit)), holders_(std::move(holders)) {}

  Task<> bring_manifest(Digest manifest);             // with its signature; Error when nobody has it
  Task<> bring_objects(std::vector<Digest> objects);  // Error naming how many nobody has

 private:
  ReleaseStore& store_;
  HostPorts& ports_;
  UnitRef unit_;
  std::vector<std::string> holders_;
  Turns turns_{1};  // two hosts that lack the same have it brought once
};

// Packs out of the store, and what it lacks out of `objects`.
std::unique_ptr<PackSource> store_or_host_packs(const ReleaseStore& store, HostObjects& objects);

}  // namespace ripcord
