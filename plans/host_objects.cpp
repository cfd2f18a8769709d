#include "plans/host_objects.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/base/error.hpp"
#include "manifests/object_batch.hpp"
#include "manifests/shared/pack.hpp"

namespace ripcord {
namespace {

constexpr Millis kAskHolder{60000}, kFetchFromHolder{600000};
constexpr std::size_t kObjectsAtOnce = 200;  // objects of one fetch

// What comes in a pack goes into the store; PackReader has verified each object when end() is called.
class StoreFromPack : public PackReader::Sink {
 public:
  StoreFromPack(ObjectBatch& batch, const std::set<Digest>& wanted) : batch_(batch), wanted_(wanted) {}
  void begin(const Digest& digest, std::uint64_t) override {
    if (!wanted_.contains(digest)) throw Error(fmt::format("it sent the object {}, which nobody asked for", digest.hex()));
    digest_ = digest;
    batch_.begin();
  }
  void bytes(std::string_view part) override { batch_.write(part); }
  void end() override { batch_.end(digest_); }

 private:
  ObjectBatch& batch_;
  const std::set<Digest>& wanted_;
  Digest digest_;
};

void store_pack(const std::string& store, const std::vector<Digest>& asked, const std::string& pack) {
  ObjectBatch batch(store);
  std::set<Digest> wanted(asked.begin(), asked.end());
  StoreFromPack sink(batch, wanted);
  PackReader reader(sink);
  reader.feed(pack);
  reader.finish();
  batch.commit();
}

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
    json::object request{{"do", "fetch_manifest"}, {"unit", unit_.unit}, {"root", unit_.root}, {"manifest", manifest.hex()}};
    try {
      json::object reply = co_await ports_.port(host).ask(std::move(request), kAskHolder);
      SealedManifest found{get_string(reply, "manifest"), get_string_or(reply, "signature", "")};
      if (found.digest() != manifest) continue;
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
    for (std::size_t at = 0; lacking() && at < objects.size(); at += kObjectsAtOnce) {
      std::vector<Digest> some(objects.begin() + static_cast<std::ptrdiff_t>(at),
                               objects.begin() + static_cast<std::ptrdiff_t>(std::min(objects.size(), at + kObjectsAtOnce)));
      json::array list;
      for (const auto& o : some) list.emplace_back(o.hex());
      json::object request{{"do", "fetch"}, {"unit", unit_.unit}, {"root", unit_.root}};
      request["objects"] = std::move(list);
      try {
        std::string pack = co_await ports_.port(host).ask_data(std::move(request), kFetchFromHolder);
        store_pack(store_.folder(), some, pack);
      } catch (const Error&) {  // the next one may have them; what came whole is kept
      }
    }
    ports_.port(host).hang_up();
    if (objects.empty()) break;
  }
  if (lacking())
    throw Error(fmt::format("{} objects of the release are neither in this store nor on any host that answers, {} among them", objects.size(),
                            objects.front().short_hex()),
                "go on from the machine that sealed it, or bring its release file here (`ripcord seal FOLDER -o FILE` there, `ripcord plan FILE` here)");
}

std::unique_ptr<PackSource> store_or_host_packs(const ReleaseStore& store, HostObjects& objects) {
  return std::make_unique<StoreOrHosts>(store, objects);
}

std::vector<std::string> holders_of(const RolloutState& state) {
  std::vector<std::string> sure, maybe;
  for (std::size_t i = 0; i < state.hosts().size(); ++i) {
    auto phase = state.hosts()[i].phase;
    bool holds = phase != HostPhase::waiting && phase != HostPhase::unreachable;
    (holds ? sure : maybe).push_back(state.spec().hosts[i].name);
  }
  sure.insert(sure.end(), maybe.begin(), maybe.end());
  return sure;
}

}  // namespace ripcord
