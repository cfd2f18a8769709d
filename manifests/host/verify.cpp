// Does a release's folder hold exactly its tree? One lstat an entry and one listing a folder; bytes are read only where the file
// system says something else than when they were last hashed, or everywhere when asked to.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <unordered_map>

#include "core/base/text.hpp"
#include "manifests/host/beneath.hpp"
#include "manifests/host/file_hash.hpp"
#include "manifests/host/metadata.hpp"

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

class Check {
 public:
  Check(const UnitLayout& unit, const StoredRelease& release, Verify how)
      : release_(release), how_(how), cache_(load_stat_cache(unit, release)), tree_(unit.release(release.id.folder())) {}

  VerifyResult run() {
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
    return std::move(result_);
  }

 private:
  void find(std::string kind, const std::string& path, std::string detail) {
    if (result_.findings.size() >= kMaxFindings) ++result_.more;
    else result_.findings.push_back({std::move(kind), path, std::move(detail)});
  }

  void check_owner_and_mode(const std::string& path, const struct stat& st, unsigned mode) {
    if (!S_ISLNK(st.st_mode) && (st.st_mode & kModeBits) != mode)
      find("mode", path, fmt::format("expected {:04o}, found {:04o}", mode, st.st_mode & kModeBits));
    if (st.st_uid != release_.uid || st.st_gid != release_.gid)
      find("owner", path, fmt::format("expected {}:{}, found {}:{}", release_.uid, release_.gid, st.st_uid, st.st_gid));
  }

  void check_entry(std::size_t index, const TreeEntry& e) {
    struct stat st {};
    if (!tree_.stat(e.path, st)) {
      if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) find("missing", e.path, "");
      else find("unreadable", e.path, errno_text(errno));
      return;
    }
    if ((st.st_mode & S_IFMT) != type_bits(e.kind))
      return find("type", e.path, fmt::format("expected {}, found {}", type_name(type_bits(e.kind)), type_name(st.st_mode)));
    check_owner_and_mode(e.path, st, e.mode & kModeBits);
    if (e.kind == SourceEntry::Kind::link) check_link(e);
    if (e.kind == SourceEntry::Kind::file) check_file(index, e, st);
  }

  void check_link(const TreeEntry& e) {
    std::array<char, PATH_MAX> target;
    std::string leaf;
    int folder = tree_.parent(e.path, leaf);
    ssize_t n = folder < 0 ? -1 : ::readlinkat(folder, leaf.c_str(), target.data(), target.size());
    if (n < 0) return find("unreadable", e.path, errno_text(errno));
    std::string_view found(target.data(), static_cast<std::size_t>(n));
    if (found != e.target) find("link", e.path, fmt::format("expected -> {}, found -> {}", e.target, found));
  }

  void check_file(std::size_t index, const TreeEntry& e, const struct stat& st) {
    if (static_cast<std::uint64_t>(st.st_size) != e.size)
      return find("changed", e.path, fmt::format("expected {} bytes, found {}", e.size, st.st_size));
    if (how_ == Verify::quick && StatEntry::of(st) == cache_[index]) return;
    Fd fd = tree_.try_open(e.path, O_RDONLY | O_NONBLOCK);
    if (!fd) return find("unreadable", e.path, errno_text(errno));
    auto hashed = hash_file(fd.get());
    ++result_.hashed;
    if (!hashed) return find("unreadable", e.path, errno_text(errno));
    if (*hashed != e.digest)
      find("changed", e.path, fmt::format("expected sha256 {}, found {}", e.digest.short_hex(), hashed->short_hex()));
    if (how_ == Verify::full) check_attributes(fd.get(), e);
  }

  // What gives a file powers that its mode does not show.
  void check_attributes(int fd, const TreeEntry& e) {
    for (const char* name : {"security.capability", "system.posix_acl_access"})
      if (::fgetxattr(fd, name, nullptr, 0) > 0) find("xattr", e.path, fmt::format("unexpected {}", name));
  }

  void find_extras(const std::string& folder, std::vector<std::string>& names) {
    Fd fd = tree_.try_open(folder, O_RDONLY | O_DIRECTORY);
    if (!fd) return;  // missing or of another type: found already
    std::sort(names.begin(), names.end());
    try {
      for (const auto& entry : list_folder(fd.get(), folder))
        if (!std::binary_search(names.begin(), names.end(), entry.name))
          find("extra", folder.empty() ? entry.name : folder + "/" + entry.name, "");
    } catch (const Error& e) {
      find("unreadable", folder.empty() ? "." : folder, e.what());
    }
  }

  const StoredRelease& release_;
  Verify how_;
  StatCache cache_;
  Beneath tree_;
  VerifyResult result_;
};

}  // namespace

VerifyResult verify_release(const UnitLayout& unit, const StoredRelease& release, Verify how) {
  if (how == Verify::none) return {};
  return Check(unit, release, how).run();
}

}  // namespace ripcord
