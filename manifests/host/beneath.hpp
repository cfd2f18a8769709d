// Names below one folder, and never outside it, whatever links somebody plants: openat2 with RESOLVE_BENEATH, NO_SYMLINKS and
// NO_MAGICLINKS, or, where the kernel lacks it, a walk with O_NOFOLLOW. Paths are relative, as check_release_path allows them;
// "" is the folder itself. Calls with many paths of one folder in a row cost one open of that folder.
#pragma once
#include <sys/stat.h>

#include <string>
#include <string_view>
#include <vector>

#include "core/base/files.hpp"

namespace ripcord {

class Beneath {
 public:
  enum class Way { automatic, walk };  // walk: for tests of the fallback
  // `path` must be a real folder, not a link to one. HostFailure.
  explicit Beneath(std::string path, Way way = Way::automatic);
  Beneath(Fd folder, std::string path, Way way = Way::automatic);

  const std::string& path() const { return path_; }
  int fd() const { return root_.get(); }

  // These throw HostFailure (bad_path when a link or a mount point is in the way).
  Fd create(const std::string& relative);                       // O_CREAT|O_EXCL|O_RDWR, mode 0600
  Fd open(const std::string& relative, int flags);              // O_NOFOLLOW|O_CLOEXEC are added
  void make_dir(const std::string& relative);                   // 0700
  void make_link(const std::string& relative, const std::string& target);
  // Like the calls of these names; false with errno set.
  bool stat(const std::string& relative, struct stat& st);      // of the link itself
  ssize_t read_link(const std::string& relative, char* target, std::size_t size);
  Fd try_open(const std::string& relative, int flags);

  // A descriptor of the folder that holds `relative`, valid until the next call, and the last component. -1 with errno.
  int parent(const std::string& relative, std::string& leaf);

 private:
  int folder_of(const std::string& relative, const char*& leaf);  // leaf: in `relative`
  Fd resolve(const std::string& relative, int flags, unsigned mode);
  std::string path_;
  Fd root_;
  Way way_;
  std::string cached_;  // folder of parent_, when it is open
  Fd parent_;
};

struct DirectoryEntry {
  std::string name;
  unsigned char type = 0;  // DT_*; DT_UNKNOWN where the file system does not say
};
// Everything but "." and "..", unsorted. `folder` is read from its start. HostFailure.
std::vector<DirectoryEntry> list_folder(int folder, const std::string& path);

// Removes `name` in `folder` and all below it, never following a link; absent is fine. HostFailure.
void remove_beneath(int folder, const std::string& name, const std::string& path);

}  // namespace ripcord
