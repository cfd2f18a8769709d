#include "plans/hosts/release_on_hand.hpp"

namespace ripcord {

ReleaseOnHand load_release(const ReleaseStore& store, const Digest& digest) {
  ReleaseOnHand release{digest, store.sealed(digest), {}};
  release.manifest = Manifest::decode(release.sealed.bytes);
  return release;
}

}  // namespace ripcord
