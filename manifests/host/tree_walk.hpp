// Does a release's folder hold exactly its tree, as far as can be told without reading a byte? One lstat an entry, and one listing of
// each folder whose stat nobody vouches for. Files of the right size whose stat nobody vouches for are left to whoever reads them
// (verify.cpp, scan_unit.cpp).
#pragma once
#include <vector>

#include "manifests/host/beneath.hpp"
#include "manifests/host/hash_files.hpp"
#include "manifests/host/metadata.hpp"

namespace ripcord {

// Findings up to a limit, and how many were left out.
class Findings {
 public:
  explicit Findings(std::size_t most) : most_(most) {}
  void add(std::string kind, const std::string& path, std::string detail) {
    if (list.size() >= most_) ++more;
    else list.push_back({std::move(kind), path, std::move(detail)});
  }
  std::vector<Finding> list;
  std::uint64_t more = 0;

 private:
  std::size_t most_;
};

struct Walked {
  std::vector<std::size_t> doubtful;         // entries to be read
  std::map<std::size_t, StatEntry> folders;  // that were listed, and what may be noted of them: zeros where something extra was in them
};
// `trusted`: what the file system said when each entry was last found right; null: trust nothing.
Walked walk_tree(const UnitLayout& unit, const StoredRelease& release, const StatCache* trusted, Findings& findings);

// Reads those entries and adds what their bytes say. `hashed` gets every file that was read, in the order of `entries`.
// False: the pace's asker lost interest.
bool read_doubtful(const UnitLayout& unit, const StoredRelease& release, const std::vector<std::size_t>& entries, ReadPace& pace,
                   Findings& findings, std::vector<FileToHash>& hashed);

}  // namespace ripcord
