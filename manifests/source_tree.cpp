#include "manifests/source_tree.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "core/base/error.hpp"
#include "core/base/text.hpp"

namespace ripcord {
namespace {

constexpr std::size_t kBlock = 1 << 20;
constexpr int kMaxDepth = 64;  // deeper than a release may be; check_entries says it better

std::string read_link_at(int parent, const std::string& name) {
  std::string target(4096, '\0');
  ssize_t n = ::readlinkat(parent, name.c_str(), target.data(), target.size());
  target.resize(n < 0 ? 0 : static_cast<std::size_t>(n));
  return target;
}

}  // namespace

std::uint64_t for_each_block(int fd, const std::string& path, const std::function<void(std::string_view)>& sink) {
  static thread_local std::vector<char> block(kBlock);
  for (std::uint64_t sum = 0;;) {
    ssize_t n = ::read(fd, block.data(), block.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw os_error("read", escape_terminal(path), errno);
    if (n == 0) return sum;
    sink({block.data(), static_cast<std::size_t>(n)});
    sum += static_cast<std::uint64_t>(n);
  }
}

SourceTree::Stamp SourceTree::stamp_of(const struct stat& st) {
  auto ns = [](const timespec& t) { return static_cast<std::int64_t>(t.tv_sec) * 1000000000 + t.tv_nsec; };
  return {static_cast<std::uint64_t>(st.st_dev), static_cast<std::uint64_t>(st.st_ino), static_cast<std::uint64_t>(st.st_size),
          ns(st.st_mtim), ns(st.st_ctim)};
}

SourceTree::SourceTree(const std::string& folder) : folder_(folder) {
  walk(AT_FDCWD, folder, "", 0);
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
}

void SourceTree::walk(int parent, const std::string& name, const std::string& path, int depth) {
  auto cannot = [&](const std::string& what) { problems.push_back(fmt::format("'{}': {}", escape_terminal(path), what)); };
  // The folder itself may be reached through a link; nothing below it is.
  Fd fd(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | (depth ? O_NOFOLLOW : 0)));
  struct stat st {};
  if (!fd || ::fstat(fd.get(), &st) != 0) {
    if (depth == 0) throw os_error("open folder", escape_terminal(name), errno);
    return cannot(fmt::format("the folder cannot be opened: {}", errno_text(errno)));
  }
  stamps_.emplace_back(path, stamp_of(st));
  std::unique_ptr<DIR, int (*)(DIR*)> dir(::fdopendir(::dup(fd.get())), ::closedir);
  if (!dir) return cannot(fmt::format("the folder cannot be read: {}", errno_text(errno)));
  while (true) {
    errno = 0;
    const dirent* d = ::readdir(dir.get());
    if (!d) {
      if (errno) cannot(fmt::format("the folder cannot be read: {}", errno_text(errno)));
      return;
    }
    std::string child = d->d_name;
    if (child == "." || child == ".." || child == ".git") continue;
    SourceEntry e;
    e.path = path.empty() ? child : path + "/" + child;
    auto bad = [&](const std::string& what) { problems.push_back(fmt::format("'{}': {}", escape_terminal(e.path), what)); };
    if (::fstatat(fd.get(), child.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
      bad(fmt::format("it cannot be looked at: {}", errno_text(errno)));
      continue;
    }
    e.mode = st.st_mode & 07777;
    if (S_ISDIR(st.st_mode)) {
      e.kind = SourceEntry::Kind::dir;
      e.mode &= 01777;
      entries.push_back(e);
      if (depth >= kMaxDepth) bad("it is nested too deeply");
      else walk(fd.get(), child, e.path, depth + 1);
      continue;
    }
    if (S_ISLNK(st.st_mode)) {
      e.kind = SourceEntry::Kind::link;
      e.mode = 0777;
      e.target = read_link_at(fd.get(), child);
    } else if (S_ISREG(st.st_mode)) {
      e.size = static_cast<std::uint64_t>(st.st_size);
    } else {
      bad(fmt::format("it is a {}; a release holds files, folders and symlinks",
                      S_ISFIFO(st.st_mode) ? "FIFO" : S_ISSOCK(st.st_mode) ? "socket" : "device"));
      continue;
    }
    stamps_.emplace_back(e.path, stamp_of(st));
    entries.push_back(std::move(e));
  }
}

Fd SourceTree::open(const SourceEntry& file) const {
  std::string path = folder_ + "/" + file.path;
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd) throw os_error("open", escape_terminal(path), errno);
  return fd;
}

std::string SourceTree::read(const SourceEntry& file) const {
  std::string bytes;
  bytes.reserve(file.size);
  for_each_block(open(file).get(), file.path, [&](std::string_view part) { bytes += part; });
  return bytes;
}

void SourceTree::hash_files() {
  for (auto& e : entries) {
    if (e.kind != SourceEntry::Kind::file) continue;
    try {
      Sha256 hash;
      auto size = for_each_block(open(e).get(), e.path, [&](std::string_view part) { hash.update(part); });
      if (size != e.size) problems.push_back(fmt::format("'{}' was changed while it was being sealed", escape_terminal(e.path)));
      e.digest = hash.finish();
    } catch (const Error& error) {
      problems.push_back(error.what());
    }
  }
}

void SourceTree::check_unchanged() const {
  for (const auto& [path, stamp] : stamps_) {
    struct stat st {};
    std::string full = path.empty() ? folder_ : folder_ + "/" + path;
    int flags = path.empty() ? 0 : AT_SYMLINK_NOFOLLOW;
    if (::fstatat(AT_FDCWD, full.c_str(), &st, flags) != 0 || stamp_of(st) != stamp)
      throw Error(fmt::format("'{}' was changed while it was being sealed; nothing was sealed", escape_terminal(full)),
                  "seal again when nothing writes to the unit's folder");
  }
}

}  // namespace ripcord
