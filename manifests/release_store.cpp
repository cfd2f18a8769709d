#include "manifests/release_store.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "core/base/clock.hpp"
#include "core/base/error.hpp"
#include "core/base/files.hpp"
#include "core/base/text.hpp"
#include "manifests/object_batch.hpp"
#include "manifests/source_tree.hpp"

namespace ripcord {
namespace {

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(folder.c_str()), ::closedir);
  if (!dir && errno == ENOENT) return names;
  if (!dir) throw os_error("read folder", folder, errno);
  while (const dirent* d = ::readdir(dir.get()))
    if (d->d_name[0] != '.') names.emplace_back(d->d_name);
  std::sort(names.begin(), names.end());
  return names;
}

// <store>/releases/<unit>/<version>: "<digest> <milliseconds when it was registered>\n".
struct Registration {
  Digest digest;
  std::int64_t at_ms = 0;
};

std::optional<Registration> read_registration(const std::string& path) {
  auto text = read_file_if_exists(path, 4096);
  if (!text) return std::nullopt;
  auto words = split(trim(*text), ' ');
  Registration r;
  auto digest = Digest::parse(words[0]);
  if (words.size() != 2 || !digest || std::from_chars(words[1].data(), words[1].data() + words[1].size(), r.at_ms).ec != std::errc())
    throw Error(fmt::format("'{}' is damaged: it does not hold a digest and a time", path), "restore it from a backup of the store", Exit::integrity);
  r.digest = *digest;
  return r;
}

}  // namespace

std::optional<Digest> ReleaseStore::find(const std::string& unit, const std::string& version) const {
  if (!valid_unit_name(unit) || !valid_version(version)) return std::nullopt;
  auto found = read_registration(folder_ + "/releases/" + unit + "/" + version);
  return found ? std::optional(found->digest) : std::nullopt;
}

std::vector<std::pair<std::string, Digest>> ReleaseStore::versions(const std::string& unit) const {
  std::vector<std::pair<std::string, Registration>> all;
  if (!valid_unit_name(unit)) return {};
  std::string folder = folder_ + "/releases/" + unit;
  for (auto& version : names_in(folder))
    if (auto found = read_registration(folder + "/" + version)) all.emplace_back(version, *found);
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.second.at_ms < b.second.at_ms; });
  std::vector<std::pair<std::string, Digest>> out;
  for (auto& [version, registration] : all) out.emplace_back(version, registration.digest);
  return out;
}

std::vector<std::string> ReleaseStore::units() const { return names_in(folder_ + "/releases"); }

SealedManifest ReleaseStore::sealed(const Digest& manifest) const {
  std::string base = folder_ + "/manifests/" + manifest.hex();
  auto bytes = read_file_if_exists(base + ".json", kMaxManifest);
  if (!bytes)
    throw Error(fmt::format("release {} is not in the store '{}'", manifest.short_hex(), folder_),
                "seal the unit here, or import its release file (ripcord seal -o FILE)");
  SealedManifest sealed{std::move(*bytes), read_file_if_exists(base + ".sig", 64 << 10).value_or("")};
  if (sealed.digest() != manifest)
    throw Error(fmt::format("'{}.json' is damaged: its bytes have the digest {}", base, sealed.digest().hex()),
                "remove it and seal the unit again", Exit::integrity);
  return sealed;
}

std::string ReleaseStore::object_path(const Digest& object) const { return ripcord::object_path(folder_, object); }

bool ReleaseStore::has_object(const Digest& object) const { return ::access(object_path(object).c_str(), F_OK) == 0; }

std::string ReleaseStore::object(const Digest& object, std::uint64_t limit) const {
  auto path = object_path(object);
  auto bytes = read_file_if_exists(path, limit);
  if (!bytes) throw Error(fmt::format("object {} is not in the store '{}'", object.short_hex(), folder_));
  if (sha256(*bytes) != object)
    throw Error(fmt::format("'{}' is damaged: its bytes have another digest", path), "remove it and seal the unit again", Exit::integrity);
  return std::move(*bytes);
}

void ReleaseStore::add_object(const Digest& digest, std::string_view bytes) {
  if (sha256(bytes) != digest) throw Error(fmt::format("object {} is not what it says: its bytes have another digest", digest.short_hex()), {}, Exit::integrity);
  if (has_object(digest)) return;
  ObjectBatch batch(folder_);
  batch.begin();
  batch.write(bytes);
  batch.end(digest);
  batch.commit();
}

void ReleaseStore::add_sealed(const SealedManifest& sealed) {
  auto manifest = Manifest::decode(sealed.bytes);
  auto digest = sealed.digest();
  std::string base = folder_ + "/manifests/" + digest.hex();
  make_dirs(folder_ + "/manifests");
  if (!exists(base + ".json")) write_file_durable(base + ".json", sealed.bytes);
  // A newer signature replaces an older one; no signature replaces none.
  if (!sealed.signature.empty() && read_file_if_exists(base + ".sig") != sealed.signature) write_file_durable(base + ".sig", sealed.signature);

  const auto& spec = manifest.spec;
  std::string folder = folder_ + "/releases/" + spec.unit, path = folder + "/" + spec.version;
  std::string temporary = folder + "/." + spec.version + "." + random_hex(8);
  make_dirs(folder);
  if (!exists(path)) {
    write_file_durable(temporary, fmt::format("{} {}\n", digest.hex(), wall_now().ms));
    // link, not rename: of two who register at once, one must lose.
    int linked = ::link(temporary.c_str(), path.c_str());
    int error = errno;
    ::unlink(temporary.c_str());
    if (linked != 0 && error != EEXIST) throw os_error("register", path, error);
    fsync_dir(folder);
  }
  auto registered = read_registration(path);
  if (!registered || registered->digest != digest)
    throw Error(fmt::format("'{}@{}' is {} in the store '{}', this one is {}: a version names one release for ever", spec.unit, spec.version,
                            registered ? registered->digest.short_hex() : "gone", folder_, digest.short_hex()),
                "raise the version", Exit::refused);
}

}  // namespace ripcord
