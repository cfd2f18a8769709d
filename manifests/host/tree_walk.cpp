#include "manifests/host/tree_walk.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <unordered_map>

#include "core/base/text.hpp"

namespace ripcord {
namespace {

constexpr unsigned kModeBits = 07777;

std::string_view type_name(unsigned mode) {
  switch (mode & S_IFMT) {
    case S_IFREG: return "a file";
    case S_IFDIR: return "a folder";
    case S_IFLNK: return "a link";
    default: return "a special file";
  }
}

unsigned type_bits(SourceEntry::Kind kind) {
  return kind == SourceEntry::Kind::file ? S_IFREG : kind == SourceEntry::Kind::dir ? S_IFDIR : S_IFLNK;
}

class Walk {
 public:
  Walk(const UnitLayout& unit, const StoredRelease& release, const StatCache* trusted, Findings& findings)
      : release_(release), trusted_(trusted), findings_(findings), tree_(unit.release(release.id.folder())) {}

  std::vector<std::size_t> run() {
    struct stat st {};
    if (tree_.stat("", st)) check_owner_and_mode(".", st, 0755);
    std::unordered_map<std::string, std::vector<std::string>> children;
    children[""];
    for (std::size_t i = 0; i < release_.tree.entries.size(); ++i) {
      const auto& e = release_.tree.entries[i];
      auto slash = e.path.rfind('/');
      children[slash == std::string::npos ? "" : e.path.substr(0, slash)].push_back(
          slash == std::string::npos ? e.path : e.path.substr(slash + 1));
      if (e.kind == SourceEntry::Kind::dir) children[e.path];
      check_entry(i, e);
    }
    for (auto& [folder, names] : children) find_extras(folder, names);
    return std::move(doubtful_);
  }

 private:
  void check_owner_and_mode(const std::string& path, const struct stat& st, unsigned mode) {
    if (!S_ISLNK(st.st_mode) && (st.st_mode & kModeBits) != mode)
      findings_.add("mode", path, fmt::format("expected {:04o}, found {:04o}", mode, st.st_mode & kModeBits));
    if (st.st_uid != release_.uid || st.st_gid != release_.gid)
      findings_.add("owner", path, fmt::format("expected {}:{}, found {}:{}", release_.uid, release_.gid, st.st_uid, st.st_gid));
  }

  void check_entry(std::size_t index, const TreeEntry& e) {
    struct stat st {};
    if (!tree_.stat(e.path, st)) {
      if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) findings_.add("missing", e.path, "");
      else findings_.add("unreadable", e.path, errno_text(errno));
      return;
    }
    if ((st.st_mode & S_IFMT) != type_bits(e.kind))
      return findings_.add("type", e.path, fmt::format("expected {}, found {}", type_name(type_bits(e.kind)), type_name(st.st_mode)));
    check_owner_and_mode(e.path, st, e.mode & kModeBits);
    if (e.kind == SourceEntry::Kind::link) check_link(e);
    if (e.kind == SourceEntry::Kind::file) check_file(index, e, st);
  }

  void check_link(const TreeEntry& e) {
    std::array<char, PATH_MAX> target;
    std::string leaf;
    int folder = tree_.parent(e.path, leaf);
    ssize_t n = folder < 0 ? -1 : ::readlinkat(folder, leaf.c_str(), target.data(), target.size());
    if (n < 0) return findings_.add("unreadable", e.path, errno_text(errno));
    std::string_view found(target.data(), static_cast<std::size_t>(n));
    if (found != e.target) findings_.add("link", e.path, fmt::format("expected -> {}, found -> {}", e.target, found));
  }

  void check_file(std::size_t index, const TreeEntry& e, const struct stat& st) {
    if (static_cast<std::uint64_t>(st.st_size) != e.size)
      return findings_.add("changed", e.path, fmt::format("expected {} bytes, found {}", e.size, st.st_size));
    if (!trusted_ || StatEntry::of(st) != (*trusted_)[index]) doubtful_.push_back(index);
  }

  void find_extras(const std::string& folder, std::vector<std::string>& names) {
    Fd fd = tree_.try_open(folder, O_RDONLY | O_DIRECTORY);
    if (!fd) return;  // missing or of another type: found already
    std::sort(names.begin(), names.end());
    try {
      for (const auto& entry : list_folder(fd.get(), folder))
        if (!std::binary_search(names.begin(), names.end(), entry.name))
          findings_.add("extra", folder.empty() ? entry.name : folder + "/" + entry.name, "");
    } catch (const Error& e) {
      findings_.add("unreadable", folder.empty() ? "." : folder, e.what());
    }
  }

  const StoredRelease& release_;
  const StatCache* trusted_;
  Findings& findings_;
  Beneath tree_;
  std::vector<std::size_t> doubtful_;
};

}  // namespace

std::vector<std::size_t> walk_tree(const UnitLayout& unit, const StoredRelease& release, const StatCache* trusted, Findings& findings) {
  return Walk(unit, release, trusted, findings).run();
}

bool read_doubtful(const UnitLayout& unit, const StoredRelease& release, const std::vector<std::size_t>& entries, ReadPace& pace,
                   Findings& findings, std::vector<FileToHash>& hashed) {
  hashed.clear();
  for (auto i : entries) hashed.push_back({release.tree.entries[i].path, release.tree.entries[i].size});
  if (!hash_files(unit.release(release.id.folder()), hashed, pace)) return false;
  for (std::size_t n = 0; n < entries.size(); ++n) {
    const auto& e = release.tree.entries[entries[n]];
    const auto& file = hashed[n];
    if (file.error != 0) {
      findings.add("unreadable", e.path, errno_text(file.error));
      continue;
    }
    if (file.digest != e.digest)
      findings.add("changed", e.path, fmt::format("expected sha256 {}, found {}", e.digest.short_hex(), file.digest.short_hex()));
    for (const auto& name : file.powers) findings.add("xattr", e.path, fmt::format("unexpected {}", name));
  }
  return true;
}

}  // namespace ripcord
