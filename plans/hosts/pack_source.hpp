// Where packs come from: the store, or what it lacks from hosts that hold the release (host_objects).
#pragma once
#include <memory>
#include <vector>

#include "manifests/release_store.hpp"
#include "plans/hosts/host_port.hpp"

namespace ripcord {

class PackSource {
 public:
  virtual ~PackSource() = default;
  virtual Task<Pack> pack(std::vector<Digest> objects) = 0;  // the same list gives the same pack without making it again
};
std::unique_ptr<PackSource> store_packs(const ReleaseStore& store);

}  // namespace ripcord
