#include "plans/hosts/predecessor.hpp"

#include <algorithm>

namespace ripcord {
namespace {

constexpr std::size_t kAtOnce = 16;

Task<> one(Supplier& supplier, Digest manifest, const HostLook& look, Predecessor& out, Slots& slots) {
  auto slot = co_await slots.acquire();
  try {
    Labels labels = look.host->labels;
    ReleaseId release = co_await supplier.send(out.host, std::nullopt, manifest, std::move(labels));
    out.release = release;
    out.sent = true;
  } catch (const Error& e) {
    out.failed = e.message();
  }
}

}  // namespace

Task<std::vector<Predecessor>> bring_predecessor(Loop& loop, Supplier& supplier, Digest manifest, std::vector<HostLook> looks) {
  std::vector<Predecessor> out(looks.size());
  Slots slots(kAtOnce);
  TaskGroup group(loop);
  for (std::size_t i = 0; i < looks.size(); ++i) {
    out[i].host = looks[i].host->name;
    const auto& there = looks[i].look->unit.releases;
    auto found = std::find_if(there.begin(), there.end(), [&](const ReleaseId& r) { return r.manifest == manifest; });
    if (found != there.end()) out[i].release = *found;
    else group.spawn(one(supplier, manifest, looks[i], out[i], slots));
  }
  co_await group.join();
  co_return out;
}

Task<ReleaseOnHand> release_on_hand(ReleaseStore& store, HostObjects& objects, Digest manifest) {
  bool here = true;
  try {
    (void)store.sealed(manifest);
  } catch (const Error& e) {
    if (e.exit() == Exit::integrity) throw;
    here = false;
  }
  if (!here) co_await objects.bring_manifest(manifest);
  auto release = load_release(store, manifest);
  std::vector<Digest> templates;
  for (const auto& entry : release.manifest.entries)
    if (entry.kind == SourceEntry::Kind::file && entry.path.ends_with(".tmpl")) templates.push_back(entry.digest);
  co_await objects.bring_objects(std::move(templates));
  co_return release;
}

}  // namespace ripcord
