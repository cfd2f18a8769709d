// What runs in a fleet by the ledger, and what its releases say about themselves: for the questions that concern more than the unit
// being rolled out (formats that several units share, `requires:` of other units).
#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/net/ledger.hpp"
#include "manifests/release_store.hpp"
#include "plans/files/contract.hpp"
#include "plans/hosts/host_look.hpp"

namespace ripcord {

// Where hosts and ledger disagree the hosts are right; this is for units nobody looks at now.
LiveVersions live_versions(const std::vector<LedgerEntry>& entries);

// The other units' live releases, as far as their manifests are in the store; `unknown` names those that are not.
std::vector<Party> live_parties(const LiveVersions& live, const ReleaseStore& store, const std::string& but, std::vector<std::string>& unknown);

// The releases that hosts run now and that `coming` replaces. A manifest that is not in the store is fetched from a host that runs
// it (its digest is checked); `unknown` names those that cannot be had.
Task<std::vector<Party>> replaced_parties(HostPorts& ports, const ReleaseStore& store, const std::vector<HostLook>& looks, UnitRef unit,
                                          Digest coming, std::vector<std::string>& unknown);

// A manifest of a release: the store's, or that of a host that holds it (its digest is checked).
Task<std::optional<Manifest>> find_manifest(HostPorts& ports, const ReleaseStore& store, std::vector<std::string> hosts, UnitRef unit, Digest digest);

// nullopt: this manifest of the unit was completed there, and ran for so long; else what is missing.
std::optional<std::string> not_completed(const std::vector<LedgerEntry>& entries, const std::string& fleet, const std::string& unit,
                                         const Digest& manifest, Millis at_least, WallTime now);

}  // namespace ripcord
