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

  Walked run() {
    struct stat st {};
    if (tree_.stat("", st)) check_owner_and_mode(".", st, 0755);
    for (std::size_t i = 0; i < release_.tree.entries.size(); ++i) check_entry(i, release_.tree.entries[i]);
    // The release's own folder is always listed: it got its name, and with it another time of change, after the stats were noted.
    names_in_[""];
    for (auto i : to_list_) names_in_[release_.tree.entries[i].path];
    for (const auto& e : release_.tree.entries) {
      std::string_view path = e.path;
      auto slash = path.rfind('/');
      auto in = names_in_.find(slash == path.npos ? "" : path.substr(0, slash));
      if (in != names_in_.end()) in->second.push_back(slash == path.npos ? path : path.substr(slash + 1));
    }
    find_extras("", nullptr);
    for (auto i : to_list_) {
      StatEntry listed;
      bool exact = find_extras(release_.tree.entries[i].path, &listed);
      if (!exact || listed == stats_.at(i)) walked_.folders.emplace(i, exact ? listed : StatEntry{});
    }
    return std::move(walked_);
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
    if (e.kind == SourceEntry::Kind::dir && !vouched_for(index, st)) to_list_.push_back(index), stats_.emplace(index, StatEntry::of(st));
  }

  bool vouched_for(std::size_t index, const struct stat& st) const { return trusted_ && StatEntry::of(st) == (*trusted_)[index]; }

  void check_link(const TreeEntry& e) {
    std::array<char, PATH_MAX> target;
    ssize_t n = tree_.read_link(e.path, target.data(), target.size());
    if (n < 0) return findings_.add("unreadable", e.path, errno_text(errno));
    std::string_view found(target.data(), static_cast<std::size_t>(n));
    if (found != e.target) findings_.add("link", e.path, fmt::format("expected -> {}, found -> {}", e.target, found));
  }

  void check_file(std::size_t index, const TreeEntry& e, const struct stat& st) {
    if (static_cast<std::uint64_t>(st.st_size) != e.size)
      return findings_.add("changed", e.path, fmt::format("expected {} bytes, found {}", e.size, st.st_size));
    if (!vouched_for(index, st)) walked_.doubtful.push_back(index);
  }

  // True: nothing extra is there, and `listed` is what the file system said about the folder after it was listed.
  bool find_extras(const std::string& folder, StatEntry* listed) {
    Fd fd = tree_.try_open(folder, O_RDONLY | O_DIRECTORY);
    if (!fd) return false;  // missing or of another type: found already
    auto& names = names_in_.at(folder);
    std::sort(names.begin(), names.end());
    bool exact = true;
    try {
      for (const auto& entry : list_folder(fd.get(), folder)) {
        if (std::binary_search(names.begin(), names.end(), std::string_view(entry.name))) continue;
        findings_.add("extra", folder.empty() ? entry.name : folder + "/" + entry.name, "");
        exact = false;
      }
    } catch (const Error& e) {
      findings_.add("unreadable", folder.empty() ? "." : folder, e.what());
      return false;
    }
    struct stat st {};
    if (listed && ::fstat(fd.get(), &st) == 0) *listed = StatEntry::of(st);
    return exact;
  }

  const StoredRelease& release_;
  const StatCache* trusted_;
  Findings& findings_;
  Beneath tree_;
  Walked walked_;
  std::vector<std::size_t> to_list_;                                           // folders that nobody vouches for
  std::unordered_map<std::size_t, StatEntry> stats_;                           // of those
  std::unordered_map<std::string_view, std::vector<std::string_view>> names_in_;  // what should be in each folder to be listed
};

}  // namespace

Walked walk_tree(const UnitLayout& unit, const StoredRelease& release, const StatCache* trusted, Findings& findings) {
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
