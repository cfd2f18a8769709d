// Sealed releases on the controller: <store>/objects/<2 hex>/<62 hex> (content by SHA-256), <store>/manifests/<digest>.json and
// .sig, <store>/releases/<unit>/<version> holding the manifest's digest. One version one digest for ever: sealing other bytes
// under a known version is an Error naming what differs. Written durably; readers may run beside a writer.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "manifests/shared/manifest.hpp"

namespace ripcord {

class ReleaseStore {
 public:
  explicit ReleaseStore(std::string folder) : folder_(std::move(folder)) {}
  const std::string& folder() const { return folder_; }

  struct Sealed {
    Digest digest;
    Manifest manifest;
    bool already = false;  // this very release was sealed before
    std::uint64_t files = 0, bytes = 0, new_objects = 0;
  };
  // Seals a unit folder. `sign` gets the manifest bytes and returns an armored signature, or "" for an unsigned release.
  // Special files, hostile names and escaping links are Errors naming them all (Exit::invalid_file).
  Sealed seal(const std::string& unit_folder, const std::function<std::string(const std::string& bytes)>& sign);

  std::optional<Digest> find(const std::string& unit, const std::string& version) const;
  std::vector<std::pair<std::string, Digest>> versions(const std::string& unit) const;  // by version, oldest sealed first
  std::vector<std::string> units() const;
  SealedManifest sealed(const Digest& manifest) const;  // Error when it is not here
  bool has_object(const Digest& object) const;
  std::string object(const Digest& object, std::uint64_t limit = 64u << 20) const;  // whole, verified
  std::string object_path(const Digest& object) const;
  // Writes objects and the manifest that came from elsewhere (a release file, a host). Verified.
  void add_object(const Digest& digest, std::string_view bytes);
  void add_sealed(const SealedManifest& sealed);  // registers the version

  // One file that carries a release: manifest, signature, all objects. import_file verifies everything before adding anything.
  void export_file(const Digest& manifest, const std::string& path) const;
  Digest import_file(const std::string& path);
  static bool is_release_file(const std::string& path);

 private:
  std::string folder_;
};

// `ssh-keygen -Y sign -n ripcord-release -f KEY` over the bytes (KEY may be a public key whose private half is in ssh-agent).
std::string sign_with_ssh_keygen(const std::string& key_path, const std::string& bytes);

}  // namespace ripcord
