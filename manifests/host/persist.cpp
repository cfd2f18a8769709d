#include "manifests/host/persist.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "manifests/host/own_files.hpp"

namespace ripcord {

void make_persist_folders(const UnitLayout& unit, const UnitSpec& spec, Owner owner) {
  if (spec.persist.empty()) return;
  make_own_dirs(unit.shared, 0755);
  Beneath shared(unit.shared);
  for (const auto& path : spec.persist) {
    for (auto slash = path.find('/');; slash = path.find('/', slash + 1)) {
      auto part = path.substr(0, slash);
      struct stat st {};
      if (!shared.stat(part, st)) {
        shared.make_dir(part);
        Fd fd = shared.open(part, O_RDONLY | O_DIRECTORY);
        auto where = unit.shared + "/" + part;
        bool theirs = owner.uid != ::geteuid() || owner.gid != ::getegid();
        if (theirs && ::fchown(fd.get(), owner.uid, owner.gid) != 0) throw host_os_error("set the owner of", where, errno);
        if (::fchmod(fd.get(), 0755) != 0) throw host_os_error("set the mode of", where, errno);
        std::string leaf;
        if (::fsync(fd.get()) != 0 || ::fsync(shared.parent(part, leaf)) != 0) throw host_os_error("fsync the folder", where, errno);
      }
      if (slash == std::string::npos) break;
    }
  }
}

}  // namespace ripcord
