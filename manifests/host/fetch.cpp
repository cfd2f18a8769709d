#include "manifests/host/fetch.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "core/base/wire.hpp"
#include "manifests/shared/pack.hpp"

namespace ripcord {

std::vector<Digest> have_of(LocalObjects& objects, const std::vector<Digest>& asked) {
  std::vector<Digest> have;
  std::set<Digest> seen;
  for (const auto& digest : asked)
    if (seen.insert(digest).second && (objects.has(digest) || objects.read(digest, kMaxTemplate))) have.push_back(digest);
  return have;
}

void send_pack(LocalObjects& objects, const std::vector<Digest>& have, const std::function<void(std::string_view)>& part) {
  PackWriter writer;
  auto send = [&](const std::string& made) {
    for (std::size_t at = 0; at < made.size(); at += kMaxData) part(std::string_view(made).substr(at, kMaxData));
  };
  std::string buffer(256 * 1024, '\0');
  for (const auto& digest : have) {
    auto found = objects.find(digest);
    if (!found) {
      auto bytes = objects.read(digest, kMaxTemplate);
      if (!bytes) throw HostFailure("missing_objects", fmt::format("the object {} is no longer here", digest.hex()));
      writer.begin_object(digest, bytes->size());
      writer.object_bytes(*bytes);
      send(writer.take());
      continue;
    }
    writer.begin_object(digest, found->size);
    for (std::uint64_t left = found->size; left > 0;) {
      ssize_t n = ::read(found->file.get(), buffer.data(), static_cast<std::size_t>(std::min<std::uint64_t>(left, buffer.size())));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) throw HostFailure("damaged", fmt::format("the object {} changed while it was sent", digest.hex()));
      writer.object_bytes({buffer.data(), static_cast<std::size_t>(n)});
      left -= static_cast<std::uint64_t>(n);
      send(writer.take());
    }
  }
  send(writer.finish());
}

SealedManifest find_manifest(const UnitLayout& unit, const Digest& manifest) {
  for (const auto& id : releases_on_host(unit))
    if (id.manifest == manifest) return stored_manifest(unit, id.folder());
  throw HostFailure("missing_release", fmt::format("no release of unit '{}' with the manifest {} is on this host", unit.unit, manifest.hex()));
}

}  // namespace ripcord
