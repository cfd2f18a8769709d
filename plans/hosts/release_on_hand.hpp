#pragma once
#include "manifests/release_store.hpp"

namespace ripcord {

// A release as the controller holds it.
struct ReleaseOnHand {
  Digest digest;
  SealedManifest sealed;
  Manifest manifest;
};
ReleaseOnHand load_release(const ReleaseStore& store, const Digest& digest);

}  // namespace ripcord
