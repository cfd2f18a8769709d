#include "plans/hosts/host_objects.hpp"

#include <fmt/format.h>

#include "core/base/error.hpp"
#include "plans/hosts/holder_fetch.hpp"

namespace ripcord {
namespace {

class StoreOrHosts : public PackSource {
 public:
  StoreOrHosts(const ReleaseStore& store, HostObjects& objects) : objects_(objects), packs_(store_packs(store)) {}
  Task<Pack> pack(std::vector<Digest> wanted) override {
    co_await objects_.bring_objects(wanted);
    co_return co_await packs_->pack(std::move(wanted));
  }

 private:
  HostObjects& objects_;
  std::unique_ptr<PackSource> packs_;
};

}  // namespace

Task<> HostObjects::bring_manifest(Digest manifest) {
  for (const auto& host : holders_) {
    try {
      SealedManifest found = co_await fetch_manifest(ports_, host, unit_, manifest);
      store_.add_sealed(found);
      co_return;
    } catch (const Error&) {  // the next one may have it
    }
  }
  throw Error(fmt::format("release {} is neither in this store nor on any of {} hosts that were asked", manifest.short_hex(), holders_.size()),
              "go on from the machine that sealed it, or bring its release file here (`ripcord seal FOLDER -o FILE` there, `ripcord plan FILE` here)");
}

Task<> HostObjects::bring_objects(std::vector<Digest> objects) {
  auto lacking = [&] {
    std::erase_if(objects, [&](const Digest& o) { return store_.has_object(o); });
    return !objects.empty();
  };
  if (!lacking()) co_return;
  auto turn = co_await turns_.next();
  for (const auto& host : holders_) {
    if (!lacking()) break;
    for (auto& lot : in_lots(objects)) {
      bool away = false;
      try {
        co_await fetch_lot(ports_, host, unit_, std::move(lot), store_);
      } catch (const LinkError&) {
        away = true;  // whatever came whole before is kept
      } catch (const Error&) {  // the next one may have these
      }
      if (away) break;
    }
    ports_.port(host).hang_up();
  }
  if (lacking())
    throw Error(fmt::format("{} objects of the release are neither in this store nor on any host that answers, {} among them", objects.size(),
                            objects.front().short_hex()),
                "go on from the machine that sealed it, or bring its release file here (`ripcord seal FOLDER -o FILE` there, `ripcord plan FILE` here)");
}

std::unique_ptr<PackSource> store_or_host_packs(const ReleaseStore& store, HostObjects& objects) {
  return std::make_unique<StoreOrHosts>(store, objects);
}

}  // namespace ripcord
