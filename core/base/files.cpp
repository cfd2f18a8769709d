#include "core/base/files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>

#include "core/base/digest.hpp"
#include "core/base/error.hpp"

namespace ripcord {

void Fd::reset(int fd) {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

Fd open_file(const std::string& path, int flags, unsigned mode) {
  int fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  if (fd < 0) throw os_error("open", path, errno);
  return Fd(fd);
}

namespace {

// Room for all of it at once where the size is known (files of /proc say 0): growing costs a copy and fresh pages each time.
std::string read_all(int fd, const std::string& path, std::uint64_t limit) {
  constexpr std::uint64_t kUnknown = 4096, kMost = 64u << 20;
  auto too_large = [&] { return Error("'" + path + "' is larger than the limit of " + std::to_string(limit) + " bytes"); };
  struct stat st {};
  std::uint64_t room = ::fstat(fd, &st) == 0 && st.st_size > 0 ? static_cast<std::uint64_t>(st.st_size) + 1 : kUnknown;  // + 1: to see the end
  std::string out(std::min({room, kMost, std::max(limit, limit + 1)}), '\0');
  std::size_t have = 0;
  while (true) {
    ssize_t n = ::read(fd, out.data() + have, out.size() - have);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw os_error("read", path, errno);
    have += static_cast<std::size_t>(n);
    if (have > limit) throw too_large();
    if (n == 0) break;
    if (have == out.size()) out.resize(2 * out.size());
  }
  out.resize(have);
  return out;
}

}  // namespace

std::string read_file(const std::string& path, std::uint64_t limit) {
  Fd fd = open_file(path, O_RDONLY);
  return read_all(fd.get(), path, limit);
}

std::optional<std::string> read_file_if_exists(const std::string& path, std::uint64_t limit) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd && errno == ENOENT) return std::nullopt;
  if (!fd) throw os_error("open", path, errno);
  return read_all(fd.get(), path, limit);
}

void write_all(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw os_error("write", path, errno);
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}

void fsync_fd(int fd, const std::string& path) {
  if (::fsync(fd) != 0) throw os_error("fsync", path, errno);
}

void fsync_dir(const std::string& path) {
  Fd fd = open_file(path, O_RDONLY | O_DIRECTORY);
  fsync_fd(fd.get(), path);
}

void write_file_durable(const std::string& path, std::string_view bytes, unsigned mode) {
  std::string temporary = path + ".tmp-" + random_hex(4);
  try {
    Fd fd = open_file(temporary, O_WRONLY | O_CREAT | O_EXCL, mode);
    if (::fchmod(fd.get(), mode) != 0) throw os_error("set the mode of", temporary, errno);
    write_all(fd.get(), bytes, temporary);
    fsync_fd(fd.get(), temporary);
    if (::rename(temporary.c_str(), path.c_str()) != 0) throw os_error("rename into place", path, errno);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  fsync_dir(parent_dir(path));
}

void make_dirs(const std::string& path, unsigned mode) {
  struct stat st {};
  if (path.empty() || (::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode))) return;
  std::string parent = parent_dir(path);
  if (parent != path) make_dirs(parent, mode);
  if (::mkdir(path.c_str(), mode) != 0) {
    if (errno == EEXIST && ::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) return;
    throw os_error("create folder", path, errno);
  }
  fsync_dir(parent);
}

bool exists(const std::string& path) {
  struct stat st {};
  return ::lstat(path.c_str(), &st) == 0;
}

std::optional<std::string> read_link(const std::string& path) {
  std::array<char, PATH_MAX> buffer;
  ssize_t n = ::readlink(path.c_str(), buffer.data(), buffer.size());
  if (n < 0) return std::nullopt;
  return std::string(buffer.data(), static_cast<std::size_t>(n));
}

std::string parent_dir(const std::string& path) {
  auto end = path.find_last_not_of('/');
  if (end == std::string::npos) return path.empty() ? "." : "/";
  auto slash = path.find_last_of('/', end);
  if (slash == std::string::npos) return ".";
  auto keep = path.find_last_not_of('/', slash);
  return keep == std::string::npos ? "/" : path.substr(0, keep + 1);
}

std::string absolute_path(const std::string& path) {
  if (!path.empty() && path[0] == '/') return path;
  std::array<char, PATH_MAX> buffer;
  if (!::getcwd(buffer.data(), buffer.size())) throw os_error("find", "the working directory", errno);
  return path.empty() ? std::string(buffer.data()) : std::string(buffer.data()) + "/" + path;
}

}  // namespace ripcord
