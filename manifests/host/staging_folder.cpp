#include "manifests/host/staging_folder.hpp"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "core/base/digest.hpp"
#include "core/base/error.hpp"
#include "manifests/host/host_failure.hpp"
#include "manifests/host/own_files.hpp"

namespace ripcord {
namespace {

constexpr std::string_view kStaging = ".staging-";

std::string make_locked(const std::string& releases, const std::string& name) {
  auto path = releases + "/" + name;
  if (::mkdir(path.c_str(), 0700) != 0) throw host_os_error("create the folder", path, errno);
  return path;
}

// In one step where the kernel and the file system can; else with an instant in between in which nothing has the name.
void exchange(int parent, const std::string& a, const std::string& b, const std::string& where) {
  if (::renameat2(parent, a.c_str(), parent, b.c_str(), RENAME_EXCHANGE) == 0) return;
  if (errno != EINVAL && errno != ENOSYS) throw host_os_error("exchange", where + "/" + b, errno);
  auto aside = ".exchange-" + random_hex(6);
  if (::renameat(parent, b.c_str(), parent, aside.c_str()) != 0 || ::renameat(parent, a.c_str(), parent, b.c_str()) != 0 ||
      ::renameat(parent, aside.c_str(), parent, a.c_str()) != 0)
    throw host_os_error("exchange", where + "/" + b, errno);
}

bool is_staging(const std::string& name) { return name.compare(0, kStaging.size(), kStaging) == 0; }

// How many are left because somebody holds them.
int remove_dead_in(const std::string& path) {
  Fd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder) return 0;
  int held = 0;
  for (const auto& entry : list_folder(folder.get(), path)) {
    if (!is_staging(entry.name)) continue;
    Fd staging(::openat(folder.get(), entry.name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (staging && ::flock(staging.get(), LOCK_EX | LOCK_NB) != 0) {
      ++held;
      continue;
    }
    try {
      remove_beneath(folder.get(), entry.name, path + "/" + entry.name);
    } catch (const Error&) {
    }
  }
  return held;
}

}  // namespace

StagingFolder::StagingFolder(const UnitLayout& unit, const std::string& version)
    : releases_(unit.releases), name_(std::string(kStaging) + version + "-" + random_hex(6)),
      parent_(::open(releases_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)), files_(make_locked(releases_, name_)) {
  if (!parent_) throw host_os_error("open the folder", releases_, errno);
  ::flock(files_.fd(), LOCK_EX | LOCK_NB);
  // Sheds a setgid bit that the parent may hand down: groups below come from us alone.
  (void)!::fchown(files_.fd(), ::geteuid(), ::getegid());
  (void)!::fchmod(files_.fd(), 0700);
}

StagingFolder::~StagingFolder() {
  if (moved_) return;
  try {
    remove_beneath(parent_.get(), name_, releases_ + "/" + name_);
  } catch (const Error&) {  // the next session tries again
  }
}

std::string StagingFolder::move_to(const std::string& folder) {
  std::string damaged;
  if (::renameat2(parent_.get(), name_.c_str(), parent_.get(), folder.c_str(), RENAME_NOREPLACE) != 0) {
    if (errno == EEXIST) {
      exchange(parent_.get(), name_, folder, releases_);
      damaged = ".damaged-" + folder + "-" + random_hex(6);
      moved_ = true;
      if (::renameat(parent_.get(), name_.c_str(), parent_.get(), damaged.c_str()) != 0)
        throw host_os_error("keep the damaged release as", releases_ + "/" + damaged, errno);
    } else if (errno == EINVAL || errno == ENOSYS) {  // no RENAME_NOREPLACE: a plain rename refuses a folder that is not empty
      if (::renameat(parent_.get(), name_.c_str(), parent_.get(), folder.c_str()) != 0)
        throw host_os_error("rename into place", releases_ + "/" + folder, errno);
    } else {
      throw host_os_error("rename into place", releases_ + "/" + folder, errno);
    }
  }
  moved_ = true;
  ::flock(files_.fd(), LOCK_UN);
  if (::fsync(parent_.get()) != 0) throw host_os_error("fsync the folder", releases_, errno);
  return damaged;
}

void remove_dead_staging(const UnitLayout& unit) {
  try {
    if (remove_dead_in(unit.releases) == 0) remove_dead_in(unit.metadata());
  } catch (const Error&) {
  }
}

void move_metadata(const UnitLayout& unit, const std::string& staged, const std::string& folder) {
  auto path = unit.metadata();
  Fd parent(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!parent) throw host_os_error("open the folder", path, errno);
  bool replaced = false;
  if (::renameat(parent.get(), staged.c_str(), parent.get(), folder.c_str()) != 0) {
    if (errno != ENOTEMPTY && errno != EEXIST) throw host_os_error("rename into place", path + "/" + folder, errno);
    exchange(parent.get(), staged, folder, path);
    replaced = true;
  }
  if (::fsync(parent.get()) != 0) throw host_os_error("fsync the folder", path, errno);
  if (replaced) remove_beneath(parent.get(), staged, path + "/" + staged);
}

}  // namespace ripcord
