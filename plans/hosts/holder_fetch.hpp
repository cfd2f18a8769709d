// What a host holds of a release, brought into the store here: manifests and objects by digest, each hashed before it is believed
// (docs/protocol.md, fetch and fetch_manifest). Who is asked, and in what order, is the caller's affair.
#pragma once
#include <string>
#include <vector>

#include "manifests/release_store.hpp"
#include "plans/hosts/host_port.hpp"

namespace ripcord {

inline constexpr Millis kAskHolder{60000}, kFetchFromHolder{600000};

// Error when the host does not have it, or sends another.
Task<SealedManifest> fetch_manifest(HostPorts& ports, std::string host, UnitRef unit, Digest manifest);

// Objects in lots of one request each, which a host answers within kFetchFromHolder.
std::vector<std::vector<Digest>> in_lots(const std::vector<Digest>& objects);
// What the host has of one lot is in the store when this returns; nothing of it when it throws.
Task<> fetch_lot(HostPorts& ports, std::string host, UnitRef unit, std::vector<Digest> lot, const ReleaseStore& store);

// {"do": name, the unit, "objects": […]}
json::object ask_about(const UnitRef& unit, std::string_view name, const std::vector<Digest>& objects);

}  // namespace ripcord
