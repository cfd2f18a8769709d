#include "manifests/object_batch.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <set>

#include "core/base/clock.hpp"
#include "core/base/error.hpp"

namespace ripcord {
namespace {

// Up to here each file and folder is synced for itself; above, one sync of the file system is cheaper than thousands of waits,
// though it also writes what others have dirty there.
constexpr std::size_t kFew = 16;

void sync_file_system(const std::string& folder) {
  Fd fd = open_file(folder, O_RDONLY | O_DIRECTORY);
  if (::syncfs(fd.get()) != 0) throw os_error("sync the file system of", folder, errno);
}

void each_name(const std::string& folder, const std::function<void(const std::string& path)>& visit) {
  std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(folder.c_str()), ::closedir);
  while (const dirent* d = dir ? ::readdir(dir.get()) : nullptr)
    if (d->d_name[0] != '.') visit(folder + "/" + d->d_name);
}

// Batches of processes that were killed. A living one is never a day old.
void remove_abandoned(const std::string& folder) {
  each_name(folder, [](const std::string& batch) {
    struct stat st {};
    if (::lstat(batch.c_str(), &st) != 0 || wall_now().ms / 1000 - st.st_mtime < 24 * 3600) return;
    each_name(batch, [](const std::string& file) { ::unlink(file.c_str()); });
    ::rmdir(batch.c_str());
  });
}

}  // namespace

std::string object_path(const std::string& store, const Digest& digest) {
  auto hex = digest.hex();
  return store + "/objects/" + hex.substr(0, 2) + "/" + hex.substr(2);
}

ObjectBatch::ObjectBatch(std::string store) : store_(std::move(store)), folder_(store_ + "/tmp/" + random_hex(8)) {
  remove_abandoned(store_ + "/tmp");
  make_dirs(folder_);
}

ObjectBatch::~ObjectBatch() {
  for (std::size_t i = 0; i <= written_.size(); ++i) ::unlink(temporary(i).c_str());
  ::rmdir(folder_.c_str());
}

void ObjectBatch::begin() { file_ = open_file(temporary(written_.size()), O_WRONLY | O_CREAT | O_EXCL, 0600); }

void ObjectBatch::write(std::string_view bytes) { write_all(file_.get(), bytes, temporary(written_.size())); }

void ObjectBatch::end(const Digest& digest) {
  written_.push_back(digest);
  file_.reset();
}

void ObjectBatch::commit() {
  std::set<std::string> folders;
  bool few = written_.size() <= kFew;
  for (std::size_t i = 0; i < written_.size(); ++i) {
    if (few) fsync_fd(open_file(temporary(i), O_RDONLY).get(), temporary(i));
    folders.insert(parent_dir(object_path(store_, written_[i])));
  }
  if (written_.empty()) return;
  make_dirs(store_ + "/objects");
  for (const auto& folder : folders)
    if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) throw os_error("create folder", folder, errno);
  if (!few) sync_file_system(folder_);
  for (std::size_t i = 0; i < written_.size(); ++i) {
    auto path = object_path(store_, written_[i]);
    if (::rename(temporary(i).c_str(), path.c_str()) != 0) throw os_error("rename into place", path, errno);
  }
  if (!few) return sync_file_system(folder_);
  for (const auto& folder : folders) fsync_dir(folder);
  fsync_dir(store_ + "/objects");
}

}  // namespace ripcord
