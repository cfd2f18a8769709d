#include "plans/hosts/holder_fetch.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/base/error.hpp"
#include "manifests/object_batch.hpp"
#include "manifests/shared/pack.hpp"

namespace ripcord {
namespace {

constexpr std::size_t kLot = 200;

// What comes in a pack goes into the store; PackReader has verified each object when end() is called.
class IntoStore : public PackReader::Sink {
 public:
  IntoStore(ObjectBatch& batch, const std::set<Digest>& wanted) : batch_(batch), wanted_(wanted) {}
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

}  // namespace

json::object ask_about(const UnitRef& unit, std::string_view name, const std::vector<Digest>& objects) {
  json::object request = to_json(unit);
  request["do"] = name;
  json::array list;
  for (const auto& o : objects) list.emplace_back(o.hex());
  request["objects"] = std::move(list);
  return request;
}

Task<SealedManifest> fetch_manifest(HostPorts& ports, std::string host, UnitRef unit, Digest manifest) {
  json::object request = to_json(unit);
  request["do"] = "fetch_manifest";
  request["manifest"] = manifest.hex();
  json::object reply = co_await ports.port(host).ask(std::move(request), kAskHolder);
  SealedManifest found{get_string(reply, "manifest"), get_string_or(reply, "signature", "")};
  if (found.digest() != manifest) throw Error(fmt::format("host '{}' was asked for the manifest {} and sent another", host, manifest.short_hex()));
  co_return found;
}

std::vector<std::vector<Digest>> in_lots(const std::vector<Digest>& objects) {
  std::vector<std::vector<Digest>> lots;
  for (std::size_t at = 0; at < objects.size(); at += kLot) {
    auto begin = objects.begin() + static_cast<std::ptrdiff_t>(at);
    lots.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(std::min(kLot, objects.size() - at)));
  }
  return lots;
}

Task<> fetch_lot(HostPorts& ports, std::string host, UnitRef unit, std::vector<Digest> lot, const ReleaseStore& store) {
  json::object request = ask_about(unit, "fetch", lot);
  std::string pack = co_await ports.port(host).ask_data(std::move(request), kFetchFromHolder);
  ObjectBatch batch(store.folder());
  std::set<Digest> wanted(lot.begin(), lot.end());
  IntoStore sink(batch, wanted);
  PackReader reader(sink);
  try {
    reader.feed(pack);
    reader.finish();
  } catch (Error& e) {
    e.during("reading what host '" + host + "' sent");
    throw;
  }
  batch.commit();
}

}  // namespace ripcord
