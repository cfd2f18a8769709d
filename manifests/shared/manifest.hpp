// A manifest names every source path of a release with mode, size and SHA-256, and holds the unit's spec. Its bytes are
// deterministic (one line of canonical JSON, paths sorted by bytes), and their SHA-256 is the release's identity for ever.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/digest.hpp"
#include "manifests/shared/unit_spec.hpp"

namespace ripcord {

struct SourceEntry {
  enum class Kind { file, link, dir };
  Kind kind = Kind::file;
  std::string path;        // in the unit folder: "unit.yaml", "code/bin/server", "config/common/app.conf.tmpl"
  unsigned mode = 0644;    // permission bits and setuid/setgid/sticky; links: 0777
  std::uint64_t size = 0;  // files
  Digest digest;           // files
  std::string target;      // links
};

inline constexpr std::size_t kMaxManifest = 12u << 20;  // it travels inside one control frame; some 70,000 files

struct Manifest {
  UnitSpec spec;
  std::vector<SourceEntry> entries;  // sorted by path

  std::string encode() const;
  // Exactly what encode() writes, or an Error(Exit::integrity) that names the member. Hosts trust nobody: every path, mode and
  // link is checked again here (check_entries).
  static Manifest decode(std::string_view bytes);
};

// What may not be in a release, one sentence a finding, empty when all is well: hostile paths, twins, links that leave the
// release, setuid without allow_setuid. Entries sorted by path.
std::vector<std::string> check_entries(const UnitSpec& spec, const std::vector<SourceEntry>& entries);
// Where a source path may end up in a release folder: below each code folder that holds it, or below a layer of config. Empty: on
// no host.
std::vector<std::string> release_paths_of(const UnitSpec& spec, std::string_view source_path);

// A sealed manifest as it travels: bytes as stored, their digest, and the SSH signature over them ("" when unsigned).
struct SealedManifest {
  std::string bytes;
  std::string signature;  // armored SSHSIG ("-----BEGIN SSH SIGNATURE-----"...), namespace kSealNamespace
  Digest digest() const { return sha256(bytes); }
};
inline constexpr std::string_view kSealNamespace = "ripcord-release";

// "storefront@1.1" and "1.1-0123456789ab"
struct ReleaseName {
  static std::string folder(const std::string& version, const Digest& tree) { return version + "-" + tree.short_hex(); }
};

// INVARIANTS "Paths": relative; no "..", ".", empty or NUL or control byte component; at most 255 bytes a component, 1,000 a
// path, 40 levels; valid UTF-8. Throws Error naming the path (escaped) and the rule.
void check_release_path(std::string_view path);
// No two paths equal after folding the case of ASCII letters and composed Latin letters into letter + accent; no file that is
// also a folder. Folders are given with a trailing '/'; the folders above a path count as given.
std::string fold_path(std::string_view path);  // equal for twins, different otherwise
// A symlink of a release: relative, and staying inside the release ('..' only at the front of the target, where it climbs real
// folders), or the link of a persist: folder, <p> -> <../ for each folder above p>../../shared/<p>.
void check_release_link(std::string_view path, std::string_view target);
std::string persist_target(std::string_view path);
bool is_persist_link(std::string_view path, std::string_view target);

}  // namespace ripcord
