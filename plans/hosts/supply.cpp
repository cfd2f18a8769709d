#include "plans/hosts/supply.hpp"

#include <fmt/format.h>

#include "plans/hosts/holder_fetch.hpp"

namespace ripcord {
Supplier::Supplier(HostPorts& ports, HostPorts& holders, ReleaseStore& store, UnitRef unit)
    : ports_(ports), sessions_(holders), store_(store), unit_(std::move(unit)), packs_(store_packs(store)) {}

Slots& Supplier::turn_at(const std::string& holder) {
  auto& turn = turns_[holder];
  if (!turn) turn = std::make_unique<Slots>(1);
  return *turn;
}

Task<std::optional<SealedManifest>> Supplier::sealed(Digest manifest, std::string for_host) {
  if (auto known = manifests_.find(manifest); known != manifests_.end()) co_return known->second;
  try {
    auto found = store_.sealed(manifest);
    if (found.digest() == manifest) co_return manifests_.emplace(manifest, std::move(found)).first->second;
  } catch (const Error&) {  // not here: hosts have it
  }
  for (const auto& holder : std::set<std::string>(holders_[manifest])) {
    if (holder == for_host) continue;
    try {
      auto turn = co_await turn_at(holder).acquire();
      SealedManifest found = co_await fetch_manifest(sessions_, holder, unit_, manifest);
      co_return manifests_.emplace(manifest, std::move(found)).first->second;
    } catch (const Error&) {  // the next one may
    }
  }
  co_return std::nullopt;
}

Task<StageReply> Supplier::offer(std::string host, std::optional<ReleaseId> known, Digest manifest, Labels labels) {
  auto& port = ports_.port(host);
  std::optional<HostRefusal> no;
  if (known) {
    try {
      ReleaseId release = *known;
      co_return co_await port.mend(unit_, std::move(release));
    } catch (const HostRefusal& e) {
      if (e.code() != "missing_release" && e.code() != "bad_request") throw;  // bad_request: an older host program
      no = e;
    }
  }
  auto found = co_await sealed(manifest, host);
  if (!found && no) throw *no;
  if (!found) throw Error(fmt::format("no host and no store here has the manifest {}", manifest.short_hex()));
  StageOffer offer{unit_, found->bytes, found->signature, std::move(labels)};
  co_return co_await port.stage_offer(std::move(offer));
}

Task<std::vector<Digest>> Supplier::nobody_has(std::vector<Digest> objects, Digest manifest, std::string for_host) {
  std::erase_if(objects, [&](const Digest& o) { return store_.has_object(o) || where_.contains(o); });
  for (const auto& holder : std::set<std::string>(holders_[manifest])) {
    if (objects.empty()) break;
    if (holder == for_host) continue;
    json::object request = ask_about(unit_, "have", objects);
    try {
      auto turn = co_await turn_at(holder).acquire();
      json::object reply = co_await sessions_.port(holder).ask(std::move(request), kFetchFromHolder);
      for (const auto& text : get_strings(reply, "have")) where_.try_emplace(Digest::require(text), holder);
    } catch (const Error&) {  // the next one may have it
    }
    std::erase_if(objects, [&](const Digest& o) { return where_.contains(o); });
  }
  co_return objects;
}

Task<Supply> Supplier::find(std::string host, std::optional<ReleaseId> known, Digest manifest, Labels labels) {
  Supply supply;
  try {
    StageReply reply = co_await offer(host, known, manifest, std::move(labels));
    supply.release = reply.release;
    supply.complete = reply.complete;
    supply.lacking = reply.lacking;
  } catch (const LinkError&) {
    throw;
  } catch (const Error& e) {
    supply.why_not = e.message();
  }
  if (!supply.why_not.empty()) co_return supply;
  if (known && !supply.release->tree.is_zero() && !(*supply.release == *known)) {
    supply.why_not = fmt::format("the host would make tree {} of it today, and it was {}: its labels or its arch changed",
                                 supply.release->tree.short_hex(), known->tree.short_hex());
    co_return supply;
  }
  auto missing = co_await nobody_has(supply.lacking, manifest, host);
  supply.possible = missing.empty();
  if (!missing.empty())
    supply.why_not = fmt::format("{} of the {} objects that it lacks are on no host that answers and not in the store, {} among them", missing.size(),
                                 supply.lacking.size(), missing.front().short_hex());
  co_return supply;
}

Task<> Supplier::fetch(std::vector<Digest> objects) {
  auto turn = co_await fetching_.acquire();
  std::map<std::string, std::vector<Digest>> from;
  for (const auto& o : objects)
    if (!store_.has_object(o) && where_.contains(o)) from[where_.at(o)].push_back(o);
  for (const auto& [host, list] : from)
    for (auto& lot : in_lots(list)) {
      auto session = co_await turn_at(host).acquire();
      co_await fetch_lot(sessions_, host, unit_, std::move(lot), store_);
    }
}

Task<ReleaseId> Supplier::send(std::string host, std::optional<ReleaseId> known, Digest manifest, Labels labels) {
  // Twice: a host that finds a damaged file only while it copies it says so at the second offer.
  for (int attempt = 0;; ++attempt) {
    StageReply reply = co_await offer(host, known, manifest, labels);
    if (reply.complete) co_return reply.release;
    auto missing = co_await nobody_has(reply.lacking, manifest, host);
    if (!missing.empty()) throw Error(fmt::format("nobody has the object {} any more", missing.front().hex()));
    co_await fetch(reply.lacking);
    // The session may have gone idle meanwhile; the offer is a matter of the session.
    reply = co_await offer(host, known, manifest, labels);
    if (reply.complete) co_return reply.release;
    std::vector<Digest> lacking = reply.lacking;
    Pack pack = co_await packs_->pack(std::move(lacking));
    std::optional<HostRefusal> refused;
    try {
      UnitRef unit = unit_;
      reply = co_await ports_.port(host).stage_pack(std::move(unit), std::move(pack));
    } catch (const HostRefusal& e) {
      if (e.code() != "missing_objects" || attempt > 0) throw;
      refused = e;
    }
    if (!refused) co_return reply.release;
  }
}

Task<std::string> Supplier::restore(std::string host, ReleaseId release, const Fleet& fleet) {
  constexpr std::size_t kAsked = 16;  // one after the other; the store mostly has it, and a host that is away costs its deadline
  Labels labels;
  for (const auto& h : fleet.hosts) {
    if (h.name == host) labels = h.labels;
    else if (holders_[release.manifest].size() < kAsked) note_holder(h.name, release.manifest);
  }
  std::string why;
  try {
    ReleaseId done = co_await send(std::move(host), release, release.manifest, std::move(labels));
    if (!(done == release)) why = "the host makes another tree of it today: its labels or its arch changed";
  } catch (const Error& e) {
    why = e.message();
  }
  co_return why;
}

}  // namespace ripcord
