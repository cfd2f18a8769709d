#include "manifests/host/switch_link.hpp"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "core/base/files.hpp"
#include "manifests/host/host_failure.hpp"

namespace ripcord {

void make_link(const std::string& path, const std::string& target) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) throw host_os_error("replace", path, errno);
  if (::symlink(target.c_str(), path.c_str()) != 0) throw host_os_error("create the link", path, errno);
}

void rename_to_current(const UnitLayout& unit, const std::string& link) {
  struct stat st {};
  if (::lstat(unit.current.c_str(), &st) == 0 && !S_ISLNK(st.st_mode))
    throw HostFailure("folder_at_current", "'" + unit.current + "' is not a link, so it cannot be switched",
                      "move it away; 'import' takes over what runs from it");
  if (::rename(link.c_str(), unit.current.c_str()) != 0) throw host_os_error("switch", unit.current, errno);
  fsync_dir(unit.unit_root);
}

void remove_current(const UnitLayout& unit) {
  struct stat st {};
  if (::lstat(unit.current.c_str(), &st) != 0 && errno == ENOENT) return;
  if (!S_ISLNK(st.st_mode)) throw HostFailure("folder_at_current", "'" + unit.current + "' is not a link, so it is not removed");
  if (::unlink(unit.current.c_str()) != 0 && errno != ENOENT) throw host_os_error("remove", unit.current, errno);
  fsync_dir(unit.unit_root);
}

void remove_stale_links(const UnitLayout& unit, const std::string& keep_op) {
  std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(unit.unit_root.c_str()), ::closedir);
  while (dirent* e = folder ? ::readdir(folder.get()) : nullptr) {
    std::string name = e->d_name;
    bool ours = name.rfind(".next-", 0) == 0 || name.rfind(".back-", 0) == 0;
    if (!ours || (!keep_op.empty() && name.substr(6) == keep_op)) continue;
    std::string path = unit.unit_root + "/" + name;
    struct stat st {};
    if (::lstat(path.c_str(), &st) == 0 && S_ISLNK(st.st_mode)) ::unlink(path.c_str());
  }
}

}  // namespace ripcord
