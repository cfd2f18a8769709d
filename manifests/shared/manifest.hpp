// A manifest names every source path of a release with mode, size and SHA-256, and holds the unit's spec. Its bytes are
// deterministic (one line of canonical JSON, paths sorted by bytes), and their SHA-256 is the release's identity for ever.
#pragma once
#include <string>
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

struct Manifest {
  UnitSpec spec;
  std::vector<SourceEntry> entries;  // sorted by path

  std::string encode() const;
  static Manifest decode(std::string_view bytes);  // checks every path (check_release_path); Error names the member
};

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
// No two paths equal after case folding of ASCII and normal form C of what we can tell; no file that is also a folder.
void check_no_twins(const std::vector<std::string>& sorted_paths);
// A symlink of a release: relative, and resolving (lexically) inside the release.
void check_release_link(std::string_view path, std::string_view target);

}  // namespace ripcord
