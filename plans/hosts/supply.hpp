// A release that a host lacks or holds damaged, brought from wherever it is whole: the host itself, the store, any other host that
// holds it; by digest, through the controller (INVARIANTS r2). Hosts are not believed: every manifest and object is hashed here.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "manifests/release_store.hpp"
#include "plans/files/fleet.hpp"
#include "plans/hosts/host_port.hpp"
#include "plans/hosts/pack_source.hpp"

namespace ripcord {

struct Supply {                   // what one host needs
  bool possible = false;
  std::string why_not;            // for people
  bool complete = false;          // nothing is lacking after all
  std::optional<ReleaseId> release;  // as the host tells it; tree is zero while templates are lacking
  std::vector<Digest> lacking;
};

class Supplier {
 public:
  // All outlive it. Objects that come from hosts are kept in the store. `holders`: sessions of their own, because the hosts that give
  // something away are doing something else at the same time, and a session has one request at a time.
  Supplier(HostPorts& ports, HostPorts& holders, ReleaseStore& store, UnitRef unit);
  // `host` says that it holds a release with this manifest; damaged ones may still have what another lacks.
  void note_holder(const std::string& host, const Digest& manifest) { holders_[manifest].insert(host); }

  // Asks the host what it lacks and everybody else who has that. Changes nothing on any host. LinkError when the host is not there.
  // `known`: the release as this host's own journal names it.
  Task<Supply> find(std::string host, std::optional<ReleaseId> known, Digest manifest, Labels labels);
  // Fetches, sends, and returns what the host has completed. Error says what did not work.
  Task<ReleaseId> send(std::string host, std::optional<ReleaseId> known, Digest manifest, Labels labels);
  // As send() for a release that the host knows, with hosts of `fleet` as holders. "": it is whole now; else why not.
  Task<std::string> restore(std::string host, ReleaseId release, const Fleet& fleet);

 private:
  Task<StageReply> offer(std::string host, std::optional<ReleaseId> known, Digest manifest, Labels labels);
  Task<std::optional<SealedManifest>> sealed(Digest manifest, std::string for_host);
  Task<std::vector<Digest>> nobody_has(std::vector<Digest> objects, Digest manifest, std::string for_host);
  Task<> fetch(std::vector<Digest> objects);
  Slots& turn_at(const std::string& holder);

  HostPorts& ports_;
  HostPorts& sessions_;
  ReleaseStore& store_;
  UnitRef unit_;
  std::unique_ptr<PackSource> packs_;
  std::map<Digest, std::set<std::string>> holders_;
  std::map<Digest, SealedManifest> manifests_;
  std::map<Digest, std::string> where_;  // object -> a host that has it
  std::map<std::string, std::unique_ptr<Slots>> turns_;  // by holder
  Slots fetching_{1};                    // two hosts that lack the same fetch it once
};

}  // namespace ripcord
