#include "manifests/host/file_hash.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

namespace ripcord {
namespace {

constexpr std::size_t kChunk = 256 * 1024;  // stays in the second-level cache between the read, the hash and the write

char* chunk() {
  static thread_local auto buffer = std::make_unique_for_overwrite<char[]>(kChunk);
  return buffer.get();
}

ssize_t read_some(int fd) {
  ssize_t n;
  do n = ::read(fd, chunk(), kChunk);
  while (n < 0 && errno == EINTR);
  return n;
}

}  // namespace

std::optional<Digest> hash_file(int fd) {
  return hash_file(fd, UINT64_MAX, [](std::size_t) { return true; });
}

std::optional<Digest> hash_file(int fd, std::uint64_t size, const std::function<bool(std::size_t)>& after) {
  Sha256 hash;
  for (std::uint64_t done = 0; done < size;) {
    ssize_t n = read_some(fd);
    if (n < 0) return std::nullopt;
    if (n == 0) break;
    hash.update({chunk(), static_cast<std::size_t>(n)});
    done += static_cast<std::uint64_t>(n);
    if (!after(static_cast<std::size_t>(n))) return errno = ECANCELED, std::nullopt;
  }
  return hash.finish();
}

std::optional<Digest> copy_file(int from, int to, bool& read_failed) {
  static bool no_reflink = false;  // learned once a process: one unit lies on one file system
  read_failed = false;
  if (!no_reflink) {
    if (::ioctl(to, FICLONE, from) == 0) {
      if (::lseek(to, 0, SEEK_SET) < 0) return std::nullopt;
      return hash_file(to);
    }
    no_reflink = errno == EOPNOTSUPP || errno == EXDEV || errno == ENOTTY || errno == EINVAL;
  }
  Sha256 hash;
  while (true) {
    ssize_t n = read_some(from);
    if (n < 0) return read_failed = true, std::nullopt;
    if (n == 0) return hash.finish();
    hash.update({chunk(), static_cast<std::size_t>(n)});
    for (ssize_t done = 0; done < n;) {
      ssize_t w = ::write(to, chunk() + done, static_cast<std::size_t>(n - done));
      if (w < 0 && errno == EINTR) continue;
      if (w < 0) return std::nullopt;
      done += w;
    }
  }
}

}  // namespace ripcord
