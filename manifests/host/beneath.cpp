#include "manifests/host/beneath.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "core/base/text.hpp"
#include "manifests/host/host_failure.hpp"

namespace ripcord {
namespace {

std::atomic<bool> no_openat2{false};  // learned once: old kernels say ENOSYS, some sandboxes EPERM

int open_beneath(int root, const char* path, int flags, unsigned mode) {
  open_how how{};
  how.flags = static_cast<unsigned>(flags | O_CLOEXEC | O_NOFOLLOW);
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  while (true) {
    long fd = ::syscall(SYS_openat2, root, path, &how, sizeof how);
    if (fd < 0 && (errno == EINTR || errno == EAGAIN)) continue;  // EAGAIN: a rename elsewhere raced with the walk
    return static_cast<int>(fd);
  }
}

Fd walk(int root, const std::string& relative, int flags, unsigned mode) {
  auto parts = split(relative, '/');
  Fd at(::openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  for (std::size_t i = 0; at && i + 1 < parts.size(); ++i) {
    if (parts[i] == ".." || parts[i].empty()) return errno = EXDEV, Fd();
    at = Fd(::openat(at.get(), parts[i].c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  }
  if (!at) return Fd();
  if (parts.back() == ".." || parts.back().empty()) return errno = EXDEV, Fd();
  return Fd(::openat(at.get(), parts.back().c_str(), flags | O_NOFOLLOW | O_CLOEXEC, mode));
}

HostFailure failure(const std::string& action, const std::string& folder, const std::string& relative, int error) {
  auto path = folder + "/" + escape_terminal(relative);
  if (error == ELOOP || error == EXDEV || error == ENOTDIR)
    return HostFailure("bad_path", "cannot " + action + " '" + path + "': a link is in the way (" + errno_text(error) + ")",
                       "somebody changed the folder while it was being written; find out who before trying again");
  return host_os_error(action, path, error);
}

}  // namespace

Beneath::Beneath(std::string path, Way way) : path_(std::move(path)), way_(way) {
  root_ = Fd(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!root_) throw host_os_error("open the folder", path_, errno);
}

Beneath::Beneath(Fd folder, std::string path, Way way) : path_(std::move(path)), root_(std::move(folder)), way_(way) {}

Fd Beneath::resolve(const std::string& relative, int flags, unsigned mode) {
  if (way_ == Way::automatic && !no_openat2) {
    Fd fd(open_beneath(root_.get(), relative.c_str(), flags, mode));
    if (fd || (errno != ENOSYS && errno != EPERM)) return fd;
    int error = errno;
    if (error == EPERM && Fd(open_beneath(root_.get(), ".", O_PATH, 0))) return errno = error, Fd();  // EPERM of the path itself
    no_openat2 = true;
  }
  return walk(root_.get(), relative, flags, mode);
}

int Beneath::parent(const std::string& relative, std::string& leaf) {
  const char* name = nullptr;
  int folder = folder_of(relative, name);
  leaf = name;
  return folder;
}

int Beneath::folder_of(const std::string& relative, const char*& leaf) {
  auto slash = relative.rfind('/');
  leaf = relative.c_str() + (slash == std::string::npos ? 0 : slash + 1);
  if (leaf[0] == '\0' || std::strcmp(leaf, ".") == 0 || std::strcmp(leaf, "..") == 0) return errno = EXDEV, -1;
  if (slash == std::string::npos) return root_.get();
  std::string_view folder(relative.data(), slash);
  if (parent_ && cached_ == folder) return parent_.get();
  cached_ = folder;
  parent_ = resolve(cached_, O_RDONLY | O_DIRECTORY, 0);
  return parent_.get();
}

Fd Beneath::try_open(const std::string& relative, int flags) {
  if (relative.empty()) return Fd(::openat(root_.get(), ".", flags | O_CLOEXEC));
  const char* leaf = nullptr;
  int folder = folder_of(relative, leaf);
  if (folder < 0) return Fd();
  return Fd(::openat(folder, leaf, flags | O_NOFOLLOW | O_CLOEXEC, 0600));
}

Fd Beneath::open(const std::string& relative, int flags) {
  Fd fd = try_open(relative, flags);
  if (!fd) throw failure("open", path_, relative, errno);
  return fd;
}

Fd Beneath::create(const std::string& relative) {
  Fd fd = try_open(relative, O_CREAT | O_EXCL | O_RDWR);
  if (!fd) throw failure("create", path_, relative, errno);
  return fd;
}

void Beneath::make_dir(const std::string& relative) {
  std::string leaf;
  int folder = parent(relative, leaf);
  if (folder < 0 || ::mkdirat(folder, leaf.c_str(), 0700) != 0) throw failure("create the folder", path_, relative, errno);
}

void Beneath::make_link(const std::string& relative, const std::string& target) {
  std::string leaf;
  int folder = parent(relative, leaf);
  if (folder < 0 || ::symlinkat(target.c_str(), folder, leaf.c_str()) != 0)
    throw failure("create the link", path_, relative, errno);
}

bool Beneath::stat(const std::string& relative, struct stat& st) {
  if (relative.empty()) return ::fstat(root_.get(), &st) == 0;
  const char* leaf = nullptr;
  int folder = folder_of(relative, leaf);
  return folder >= 0 && ::fstatat(folder, leaf, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

ssize_t Beneath::read_link(const std::string& relative, char* target, std::size_t size) {
  const char* leaf = nullptr;
  int folder = folder_of(relative, leaf);
  return folder < 0 ? -1 : ::readlinkat(folder, leaf, target, size);
}

std::vector<DirectoryEntry> list_folder(int folder, const std::string& path) {
  std::vector<DirectoryEntry> out;
  alignas(8) std::array<char, 32768> buffer;
  if (::lseek(folder, 0, SEEK_SET) < 0) throw host_os_error("list the folder", path, errno);
  while (true) {
    long n = ::syscall(SYS_getdents64, folder, buffer.data(), buffer.size());
    if (n < 0) throw host_os_error("list the folder", path, errno);
    if (n == 0) return out;
    for (long at = 0; at < n;) {
      // struct linux_dirent64: u64 ino, i64 off, u16 length, u8 type, name
      unsigned short length = 0;
      std::memcpy(&length, buffer.data() + at + 16, sizeof length);
      const char* name = buffer.data() + at + 19;
      if (std::strcmp(name, ".") != 0 && std::strcmp(name, "..") != 0)
        out.push_back({name, static_cast<unsigned char>(buffer[static_cast<std::size_t>(at) + 18])});
      at += length;
    }
  }
}

namespace {

void remove_at_depth(int folder, const std::string& name, const std::string& path, int depth) {
  if (::unlinkat(folder, name.c_str(), 0) == 0 || errno == ENOENT) return;
  int error = errno;
  if (error != EISDIR && error != EPERM) throw host_os_error("remove", path, error);
  if (depth > 256) throw HostFailure("internal", "cannot remove '" + path + "': it is nested too deeply");
  Fd inner(::openat(folder, name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!inner) throw host_os_error("remove", path, errno == ENOTDIR || errno == ELOOP ? error : errno);
  // Folders of a release may be read-only. If this fails, the next step says so.
  (void)!::chmod(("/proc/self/fd/" + std::to_string(inner.get())).c_str(), 0700);
  inner = Fd(::openat(inner.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!inner) throw host_os_error("remove", path, errno);
  for (const auto& entry : list_folder(inner.get(), path))
    remove_at_depth(inner.get(), entry.name, path + "/" + escape_terminal(entry.name), depth + 1);
  if (::unlinkat(folder, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) throw host_os_error("remove the folder", path, errno);
}

}  // namespace

void remove_beneath(int folder, const std::string& name, const std::string& path) { remove_at_depth(folder, name, path, 0); }

}  // namespace ripcord
