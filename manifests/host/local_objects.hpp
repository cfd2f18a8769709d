// Objects that this host already has, found by digest in the releases of one unit and in the templates kept beside them. There is
// no object store: a release's folder is the store. What the stat cache does not vouch for is hashed before it counts.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/base/files.hpp"
#include "manifests/host/beneath.hpp"
#include "manifests/host/metadata.hpp"

namespace ripcord {

class LocalObjects {
 public:
  explicit LocalObjects(const UnitLayout& unit);

  struct Found {
    Fd file;                 // at its start
    std::uint64_t size = 0;
    std::size_t release = 0, entry = 0;
  };
  // nullopt: not here, or not intact.
  std::optional<Found> find(const Digest& object);
  bool has(const Digest& object) { return find(object).has_value(); }
  // The bytes read from it were not what they should be: forget it, durably.
  void distrust(const Found& found);

  // Bytes of a small object (a template), verified. nullopt when it is not here.
  std::optional<std::string> read(const Digest& object, std::uint64_t limit);

 private:
  struct Place {
    std::uint32_t release, entry;
  };
  struct Source {
    StoredRelease release;
    StatCache stat;
    std::unique_ptr<Beneath> folder;  // opened at first use
  };
  std::optional<Found> look(const Place& place, const Digest& object);
  UnitLayout unit_;
  std::vector<Source> sources_;
  std::unordered_map<Digest, std::vector<Place>> index_;
};

}  // namespace ripcord
