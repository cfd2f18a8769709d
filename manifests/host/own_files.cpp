#include "manifests/host/own_files.hpp"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "core/base/digest.hpp"
#include "core/base/files.hpp"
#include "manifests/host/host_failure.hpp"

namespace ripcord {

void fsync_own_dir(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) throw host_os_error("fsync the folder", path, errno);
}

void make_own_dirs(const std::string& path, unsigned mode) {
  struct stat st {};
  if (::stat(path.c_str(), &st) == 0) {
    if (S_ISDIR(st.st_mode)) return;
    throw host_os_error("use as a folder", path, ENOTDIR);
  }
  auto parent = parent_dir(path);
  if (parent != path) make_own_dirs(parent, mode);
  if (::mkdir(path.c_str(), mode) != 0) {
    if (errno == EEXIST && ::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) return;  // somebody beside us made it
    throw host_os_error("create the folder", path, errno);
  }
  if (::chmod(path.c_str(), mode) != 0) throw host_os_error("set the mode of", path, errno);
  fsync_own_dir(parent);
}

void write_own_fd(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw host_os_error("write", path, errno);
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}

void rename_own(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) throw host_os_error("rename into place", to, errno);
}

void write_own_file(const std::string& path, std::string_view bytes, unsigned mode) {
  auto temporary = path + ".tmp-" + random_hex(4);
  try {
    Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
    if (!fd) throw host_os_error("create", temporary, errno);
    if (::fchmod(fd.get(), mode) != 0) throw host_os_error("set the mode of", temporary, errno);
    write_own_fd(fd.get(), bytes, temporary);
    if (::fsync(fd.get()) != 0) throw host_os_error("fsync", temporary, errno);
    rename_own(temporary, path);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  fsync_own_dir(parent_dir(path));
}

}  // namespace ripcord
