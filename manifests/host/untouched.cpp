#include "manifests/host/untouched.hpp"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <climits>

#include "core/base/error.hpp"
#include "core/base/files.hpp"
#include "manifests/host/beneath.hpp"
#include "manifests/host/metadata.hpp"

namespace ripcord {
namespace {

using Kind = SourceEntry::Kind;

constexpr unsigned kPermissionBits = 07777;

class Glance {
 public:
  Glance(const IdFile& record, const StatCache& noted, std::string folder) : record_(record), noted_(noted), tree_(std::move(folder)) {}

  bool as_noted(std::string_view lines) {
    struct stat st {};
    if (!tree_.stat("", st) || !has(st, S_IFDIR | 0755u)) return false;
    std::size_t at_top = 0, index = 0;
    for (; !lines.empty(); ++index) {
      auto line = take_tree_line(lines);
      if (index >= noted_.size() || !as_noted(line, noted_[index])) return false;
      at_top += line.path.find('/') == line.path.npos;
    }
    // Each of them is there, so as many names as there should be are those that should be.
    return index == noted_.size() && list_folder(tree_.fd(), tree_.path()).size() == at_top;
  }

 private:
  bool has(const struct stat& st, unsigned mode) const {
    bool link = S_ISLNK(st.st_mode);
    return (link ? st.st_mode & S_IFMT : st.st_mode) == (link ? mode & S_IFMT : mode) && st.st_uid == record_.uid && st.st_gid == record_.gid;
  }

  bool as_noted(const TreeLine& line, const StatEntry& noted) {
    path_ = line.path;
    struct stat st {};
    unsigned type = line.kind == Kind::dir ? S_IFDIR : line.kind == Kind::link ? S_IFLNK : S_IFREG;
    if (!tree_.stat(path_, st) || !has(st, type | (line.mode & kPermissionBits))) return false;
    if (line.kind == Kind::link) return points_to(line.target);
    return StatEntry::of(st) == noted && (line.kind == Kind::dir || noted.size == line.size);
  }

  bool points_to(std::string_view target) {
    std::array<char, PATH_MAX> found;
    ssize_t n = tree_.read_link(path_, found.data(), found.size());
    return n >= 0 && std::string_view(found.data(), static_cast<std::size_t>(n)) == target;
  }

  const IdFile& record_;
  const StatCache& noted_;
  Beneath tree_;
  std::string path_;
};

}  // namespace

std::optional<std::size_t> untouched(const UnitLayout& unit, const ReleaseId& id) {
  try {
    auto known = unit.metadata_of(id.folder());
    auto record = decode_id_file(read_file(known + "/id"));
    auto text = read_file(known + "/tree");
    if (record.id != id || sha256(text) != id.tree) return std::nullopt;
    std::string_view lines = text;
    take_tree_head(lines);
    auto noted = decode_stat_file(read_file(known + "/stat"), id.tree, static_cast<std::size_t>(std::count(lines.begin(), lines.end(), '\n')));
    if (!Glance(record, noted, unit.release(id.folder())).as_noted(lines)) return std::nullopt;
    return noted.size();
  } catch (const Error&) {  // whatever it is, the close look says it
    return std::nullopt;
  }
}

}  // namespace ripcord
