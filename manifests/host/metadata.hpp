// What the host knows about a release, beside its folder and outside it: <state>/units/<unit>/releases/<folder>/ with
//   id         JSON: unit, version, manifest, tree, uid, gid, and labels and arch that the tree was made with
//   tree       Tree::encode(): its SHA-256 is the tree's digest, and is checked whenever it is read
//   stat       per file and folder of the tree: what the file system said about it when it was last hashed or listed, and right
//              (binary, this machine only)
//   manifest, signature, templates/<sha256>
#pragma once
#include <sys/stat.h>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "manifests/host/release_folder.hpp"

namespace ripcord {

struct StatEntry {  // all zero: nothing is known: hash the file, list the folder
  std::uint64_t size = 0, mtime_ns = 0, ctime_ns = 0, inode = 0;
  std::uint32_t mode = 0, uid = 0, gid = 0, unused = 0;
  bool operator==(const StatEntry&) const = default;
  static StatEntry of(const struct stat& st);
};
using StatCache = std::vector<StatEntry>;  // parallel to Tree::entries

Tree decode_tree(std::string_view text);  // of Tree::encode(); rendered and source are not in it. Error
// The same in pieces, for whoever needs no tree in memory: first the head (a tree without entries), then a line each until no text is
// left. Views into `text`. Error.
struct TreeLine {
  SourceEntry::Kind kind = SourceEntry::Kind::file;
  unsigned mode = 0;
  std::uint64_t size = 0;
  std::string_view digest, path, target;
};
Tree take_tree_head(std::string_view& text);
TreeLine take_tree_line(std::string_view& text);
std::string encode_stat_file(const StatCache& cache, const Digest& tree);
StatCache decode_stat_file(std::string_view bytes, const Digest& tree, std::size_t entries);  // damaged or foreign: all zero

struct IdFile {
  ReleaseId id;
  unsigned uid = 0, gid = 0;
  HostFacts facts;
};
std::string encode_id_file(const IdFile& id);
IdFile decode_id_file(std::string_view text);  // Error

StatCache load_stat_cache(const UnitLayout& unit, const StoredRelease& release);
// Forgets what is known about one file, so that it is hashed wherever it counts: its content did not match its stat.
void distrust(const UnitLayout& unit, const StoredRelease& release, std::size_t entry);
// Notes what was learned about entries when they were hashed: their stat when they are right, zeros when they are not. Entries that
// are right must not have been changed within the last kSameTick, or a change in the same clock tick could hide behind it.
void note_hashed(const UnitLayout& unit, const StoredRelease& release, const std::map<std::size_t, StatEntry>& entries);
inline constexpr std::uint64_t kSameTickNs = 2'000'000'000;  // the coarsest file systems count in two seconds

// Writes the metadata as `<metadata>/.staging-<folder>-<random>` and returns that name. Durable only with fsync_each.
struct MetadataParts {
  IdFile id;
  const Tree* tree = nullptr;
  const SealedManifest* sealed = nullptr;
  const StatCache* stat = nullptr;
  const std::map<Digest, std::string>* templates = nullptr;
};
std::string write_metadata(const UnitLayout& unit, const MetadataParts& parts, bool fsync_each);

}  // namespace ripcord
