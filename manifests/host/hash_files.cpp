#include "manifests/host/hash_files.hpp"

#include <fcntl.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cerrno>
#include <numeric>
#include <thread>

#include "manifests/host/file_hash.hpp"

namespace ripcord {
namespace {

constexpr std::uint64_t kWorthAThread = 4u << 20;  // a thread costs as much as hashing some 100 KiB

bool hash_one(Beneath& folder, FileToHash& file, ReadPace& pace) {
  Fd fd = folder.try_open(file.path, O_RDONLY | O_NONBLOCK);
  if (!fd || ::fstat(fd.get(), &file.before) != 0) return file.error = errno, true;
  bool wanted = true;
  auto hashed = hash_file(fd.get(), static_cast<std::uint64_t>(file.before.st_size), [&](std::size_t n) { return wanted = pace.read(n); });
  if (!wanted) return false;
  if (!hashed || ::fstat(fd.get(), &file.after) != 0) return file.error = errno ? errno : EIO, true;
  file.digest = *hashed;
  if (::flistxattr(fd.get(), nullptr, 0) == 0) return true;  // no attribute at all: the usual answer
  for (const char* name : {"security.capability", "system.posix_acl_access"})
    if (::fgetxattr(fd.get(), name, nullptr, 0) > 0) file.powers.emplace_back(name);
  return true;
}

}  // namespace

bool hash_files(const std::string& folder, std::vector<FileToHash>& files, ReadPace& pace) {
  if (files.empty()) return true;
  std::vector<std::size_t> order(files.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::uint64_t total = 0;
  for (const auto& f : files) total += f.size;
  auto threads = std::min<std::size_t>({static_cast<std::size_t>(std::max(1, pace.threads())), files.size(), total / kWorthAThread + 1});
  if (threads > 1) std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return files[a].size > files[b].size; });

  std::vector<Beneath> folders;  // each thread walks by itself; opened here, where it may throw
  for (std::size_t i = 0; i < threads; ++i) folders.emplace_back(folder);
  std::atomic<std::size_t> next{0};
  std::atomic<bool> wanted{true};
  auto work = [&](std::size_t thread) {
    for (std::size_t i; wanted && (i = next++) < order.size();)
      if (!hash_one(folders[thread], files[order[i]], pace)) wanted = false;
  };
  std::vector<std::thread> others;
  for (std::size_t i = 1; i < threads; ++i) others.emplace_back(work, i);
  work(0);
  for (auto& t : others) t.join();
  return wanted;
}

}  // namespace ripcord
