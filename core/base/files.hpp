// Files the durable way: descriptors that close themselves, whole-file reads with a limit, and writes that are either
// there completely after a power cut or not there at all (write to a temporary name, fsync, rename, fsync the folder).
// fsync that failed is never tried again on the same descriptor: the page cache may have dropped the data. Throw and let
// the step count as unknown.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace ripcord {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() { reset(); }
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1);
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

Fd open_file(const std::string& path, int flags, unsigned mode = 0600);  // O_CLOEXEC added; Error on failure

// Whole file; Error when it is larger than `limit` bytes. read_file_if_exists gives nullopt on ENOENT only.
std::string read_file(const std::string& path, std::uint64_t limit = 64u << 20);
std::optional<std::string> read_file_if_exists(const std::string& path, std::uint64_t limit = 64u << 20);

void write_all(int fd, std::string_view bytes, const std::string& path);  // handles short writes and EINTR
void fsync_fd(int fd, const std::string& path);
void fsync_dir(const std::string& path);

// Durable replace: temporary file beside it, fsync, rename, fsync of the folder.
void write_file_durable(const std::string& path, std::string_view bytes, unsigned mode = 0600);

// mkdir -p for one's own state (each created folder gets `mode`, and its parent is fsynced). Not for paths out of a release.
void make_dirs(const std::string& path, unsigned mode = 0700);

bool exists(const std::string& path);                             // lstat; true for dangling links as well
std::optional<std::string> read_link(const std::string& path);    // nullopt when absent or not a link
std::string parent_dir(const std::string& path);
std::string absolute_path(const std::string& path);

}  // namespace ripcord
