#include "manifests/host/local_objects.hpp"

#include <fcntl.h>
#include <unistd.h>

#include "core/base/error.hpp"
#include "manifests/host/file_hash.hpp"

namespace ripcord {

LocalObjects::LocalObjects(const UnitLayout& unit) : unit_(unit) {
  for (const auto& id : releases_on_host(unit)) {
    try {
      auto release = load_release(unit, id.folder());
      if (!release) continue;
      auto stat = load_stat_cache(unit, *release);
      auto number = static_cast<std::uint32_t>(sources_.size());
      const auto& entries = release->tree.entries;
      for (std::uint32_t i = 0; i < entries.size(); ++i)
        if (entries[i].kind == SourceEntry::Kind::file) index_[entries[i].digest].push_back({number, i});
      sources_.push_back({std::move(*release), std::move(stat), nullptr});
    } catch (const Error&) {  // a release that we cannot read has nothing to give
    }
  }
}

std::optional<LocalObjects::Found> LocalObjects::look(const Place& place, const Digest& object) {
  auto& source = sources_[place.release];
  const auto& entry = source.release.tree.entries[place.entry];
  if (!source.folder) source.folder = std::make_unique<Beneath>(unit_.release(source.release.id.folder()));
  Fd fd = source.folder->try_open(entry.path, O_RDONLY | O_NONBLOCK);
  struct stat st {};
  if (!fd || ::fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode)) return std::nullopt;
  if (static_cast<std::uint64_t>(st.st_size) != entry.size) return std::nullopt;
  if (!(StatEntry::of(st) == source.stat[place.entry])) {
    auto hashed = hash_file(fd.get());
    if (!hashed || *hashed != object || ::lseek(fd.get(), 0, SEEK_SET) < 0) return std::nullopt;
  }
  return Found{std::move(fd), entry.size, place.release, place.entry};
}

std::optional<LocalObjects::Found> LocalObjects::find(const Digest& object) {
  auto places = index_.find(object);
  if (places == index_.end()) return std::nullopt;
  for (const auto& place : places->second) {
    try {
      if (auto found = look(place, object)) return found;
    } catch (const Error&) {  // its folder went away
    }
  }
  return std::nullopt;
}

void LocalObjects::distrust(const Found& found) {
  auto& source = sources_[found.release];
  source.stat[found.entry] = {};
  ripcord::distrust(unit_, source.release, found.entry);
}

std::optional<std::string> LocalObjects::read(const Digest& object, std::uint64_t limit) {
  for (const auto& source : sources_) {
    try {
      auto bytes = read_file_if_exists(unit_.metadata_of(source.release.id.folder()) + "/templates/" + object.hex(), limit);
      if (bytes && sha256(*bytes) == object) return bytes;
    } catch (const Error&) {
    }
  }
  auto found = find(object);
  if (!found || found->size > limit) return std::nullopt;
  std::string bytes(found->size, '\0');
  ssize_t n = ::pread(found->file.get(), bytes.data(), bytes.size(), 0);
  if (n < 0 || static_cast<std::size_t>(n) != bytes.size() || sha256(bytes) != object) return std::nullopt;
  return bytes;
}

}  // namespace ripcord
