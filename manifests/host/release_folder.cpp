#include "manifests/host/release_folder.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "core/base/files.hpp"
#include "core/base/text.hpp"
#include "manifests/host/beneath.hpp"
#include "manifests/host/metadata.hpp"

namespace ripcord {
namespace {

constexpr std::uint64_t kMaxMetadata = 64u << 20;

bool is_folder(const std::string& path) {
  struct stat st {};
  return ::lstat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}

bool folder_name(const std::string& name) {  // one component, and not one of our temporary ones
  return !name.empty() && name[0] != '.' && name.find('/') == std::string::npos;
}

HostFailure bad_metadata(const UnitLayout& unit, const std::string& folder, const std::string& why) {
  return HostFailure("damaged", fmt::format("what is recorded about the release '{}' in '{}' cannot be read: {}",
                                            escape_terminal(folder), unit.metadata_of(escape_terminal(folder)), why),
                     "stage the release again: that writes it anew");
}

std::optional<std::string> metadata_file(const UnitLayout& unit, const std::string& folder, const std::string& name) {
  return read_file_if_exists(unit.metadata_of(folder) + "/" + name, kMaxMetadata);
}

}  // namespace

std::vector<ReleaseId> releases_on_host(const UnitLayout& unit) {
  std::vector<ReleaseId> out;
  Fd folder(::open(unit.metadata().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return out;
  for (const auto& entry : list_folder(folder.get(), unit.metadata())) {
    if (!folder_name(entry.name) || !is_folder(unit.release(entry.name))) continue;
    try {
      auto text = metadata_file(unit, entry.name, "id");
      if (!text) continue;
      auto id = decode_id_file(*text).id;
      if (id.folder() == entry.name) out.push_back(id);
    } catch (const Error&) {  // unreadable: not a complete release; load_release says why
    }
  }
  std::sort(out.begin(), out.end(), [](const ReleaseId& a, const ReleaseId& b) { return a.folder() < b.folder(); });
  return out;
}

std::optional<StoredRelease> load_release(const UnitLayout& unit, const std::string& folder) {
  if (!folder_name(folder) || !is_folder(unit.release(folder))) return std::nullopt;
  auto id_text = metadata_file(unit, folder, "id");
  if (!id_text) return std::nullopt;
  try {
    auto file = decode_id_file(*id_text);
    if (file.id.folder() != folder) throw Error("it is of the release '" + escape_terminal(file.id.folder()) + "'");
    StoredRelease release{file.id, decode_tree(metadata_file(unit, folder, "tree").value_or("")), file.uid, file.gid};
    if (release.tree.digest != release.id.tree) throw Error("its tree is not the one that its digest names");
    return release;
  } catch (const Error& e) {
    throw bad_metadata(unit, folder, e.what());
  }
}

StoredRelease require_release(const UnitLayout& unit, const ReleaseId& id) {
  auto release = load_release(unit, id.folder());
  if (!release)
    throw HostFailure("missing_release",
                      fmt::format("the release '{}' of unit '{}' is not on this host", escape_terminal(id.folder()), unit.unit),
                      "stage it first");
  if (release->id != id)
    throw HostFailure("missing_release",
                      fmt::format("the release in '{}' has another manifest or tree than the one asked for (found {} and {}, expected "
                                  "{} and {})",
                                  unit.release(id.folder()), release->id.manifest.short_hex(), release->id.tree.short_hex(),
                                  id.manifest.short_hex(), id.tree.short_hex()),
                      "two releases share the version '" + escape_terminal(id.version) + "'; give one of them a new version");
  return std::move(*release);
}

SealedManifest stored_manifest(const UnitLayout& unit, const std::string& folder) {
  if (!folder_name(folder)) throw HostFailure("bad_request", "'" + escape_terminal(folder) + "' is not a release's folder");
  auto bytes = metadata_file(unit, folder, "manifest");
  if (!bytes) throw HostFailure("missing_release", fmt::format("no manifest of '{}' is on this host", escape_terminal(folder)));
  return {*bytes, metadata_file(unit, folder, "signature").value_or("")};
}

template <class Decode>
static auto decode_manifest(const UnitLayout& unit, const std::string& folder, Decode decode) {
  auto sealed = stored_manifest(unit, folder);
  try {
    auto id = decode_id_file(metadata_file(unit, folder, "id").value_or(""));
    if (sealed.digest() != id.id.manifest) throw Error("the manifest's bytes do not have the digest they should have");
    return decode(sealed.bytes);
  } catch (const HostFailure&) {
    throw;
  } catch (const Error& e) {
    throw bad_metadata(unit, folder, e.what());
  }
}

Manifest load_manifest(const UnitLayout& unit, const std::string& folder) {
  return decode_manifest(unit, folder, [](const std::string& bytes) { return Manifest::decode(bytes); });
}

// The one spelling of a manifest has its members in this order, and its digest was compared: it was decoded as a whole when it came.
UnitSpec load_spec(const UnitLayout& unit, const std::string& folder) {
  return decode_manifest(unit, folder, [](const std::string& bytes) {
    constexpr std::string_view kBefore = ",\"spec\":";
    auto begin = bytes.find(kBefore);
    if (begin == std::string::npos) throw Error("the manifest has no spec");
    begin += kBefore.size();
    bool quoted = false;
    int depth = 0;
    for (auto at = begin; at < bytes.size(); ++at) {
      char c = bytes[at];
      if (quoted) {
        if (c == '\\') ++at;
        else if (c == '"') quoted = false;
        continue;
      }
      if (c == '"') quoted = true;
      else if (c == '{') ++depth;
      else if (c == '}' && --depth == 0) return unit_spec_from_json(parse_json_object(std::string_view(bytes).substr(begin, at + 1 - begin), "the spec"));
    }
    throw Error("the manifest's spec has no end");
  });
}

CurrentLink read_current(const UnitLayout& unit) {
  CurrentLink out;
  struct stat st {};
  if (::lstat(unit.current.c_str(), &st) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return out;
    throw host_os_error("look at", unit.current, errno);
  }
  if (!S_ISLNK(st.st_mode)) {
    out.kind = Observation::Current::folder;
    return out;
  }
  out.target = read_link(unit.current).value_or("");
  bool resolves = ::stat(unit.current.c_str(), &st) == 0;
  out.kind = resolves ? Observation::Current::foreign_link : Observation::Current::broken;
  auto prefix = UnitLayout::link_target("");
  if (out.target.compare(0, prefix.size(), prefix) != 0 || !folder_name(out.target.substr(prefix.size()))) return out;
  out.folder = out.target.substr(prefix.size());
  if (!resolves || !is_folder(unit.release(out.folder))) return out;
  try {
    if (auto text = metadata_file(unit, out.folder, "id")) {
      auto id = decode_id_file(*text).id;
      if (id.folder() == out.folder) {
        out.release = id;
        out.kind = Observation::Current::release;
      }
    }
  } catch (const Error&) {  // a folder of ours that we can no longer name: treated as somebody else's
  }
  return out;
}

}  // namespace ripcord
