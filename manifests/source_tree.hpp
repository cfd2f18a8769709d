// The folder of a unit as its author left it: every entry with its stamp, so that a change during sealing is noticed.
#pragma once
#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/files.hpp"
#include "manifests/shared/manifest.hpp"

namespace ripcord {

class SourceTree {
 public:
  // Reads the names, not the contents. Entries called .git are left out, everything else counts. Folders keep their mode without
  // setuid and setgid (which they inherit from where the checkout lies).
  explicit SourceTree(const std::string& folder);

  std::vector<SourceEntry> entries;    // sorted by path; no digests yet
  std::vector<std::string> problems;   // devices, FIFOs, sockets, what cannot be read: a sentence each

  void hash_files();                   // fills in the digests, in portions of 1 MiB
  Fd open(const SourceEntry& file) const;
  std::string read(const SourceEntry& file) const;
  void check_unchanged() const;        // Error naming what was changed, added or removed since the constructor

 private:
  struct Stamp {
    std::uint64_t device, inode, size;
    std::int64_t modified_ns, changed_ns;
    bool operator==(const Stamp&) const = default;
  };
  std::string folder_;
  std::vector<std::pair<std::string, Stamp>> stamps_;  // "" is the folder itself
  void walk(int parent, const std::string& name, const std::string& path, int depth);
  static Stamp stamp_of(const struct stat& st);
};

// Calls sink(part) for the rest of a descriptor, 1 MiB at a time; returns how many bytes there were.
std::uint64_t for_each_block(int fd, const std::string& path, const std::function<void(std::string_view)>& sink);

}  // namespace ripcord
