#include "manifests/object_batch.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>

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

}  // namespace

std::string object_path(const std::string& store, const Digest& digest) {
  auto hex = digest.hex();
  return store + "/objects/" + hex.substr(0, 2) + "/" + hex.substr(2);
}

ObjectBatch::ObjectBatch(std::string store) : store_(std::move(store)), folder_(store_ + "/tmp/" + random_hex(8)) { make_dirs(folder_); }

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
