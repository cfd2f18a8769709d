#include "tests/support/disk_image.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <random>

#include "core/base/error.hpp"
#include "core/base/files.hpp"
#include "core/base/process.hpp"
#include "tests/support/temp_dir.hpp"

namespace ripcord::test {
namespace {

constexpr std::size_t kBlock = 4096;
constexpr std::uint64_t kRoom = 2ull << 30;  // what a campaign's images may take

void must(const std::vector<std::string>& argv) {
  auto r = run_process({.argv = argv}, Millis(30000));
  if (!r.ok()) throw Error(fmt::format("{}: {}: {}", argv[0], r.text(), r.output));
}

bool runs(const std::vector<std::string>& argv) {
  try {
    return run_process({.argv = argv}, Millis(10000)).exit >= 0;
  } catch (const Error&) {
    return false;
  }
}

// A block of ext4's journal that says: all that came before it counts (jbd2: magic, then type 2), or where the journal begins (4).
bool ends_a_transaction(const char* block) {
  static constexpr unsigned char kCommit[8] = {0xc0, 0x3b, 0x39, 0x98, 0, 0, 0, 2}, kSuper[8] = {0xc0, 0x3b, 0x39, 0x98, 0, 0, 0, 4};
  return std::memcmp(block, kCommit, 8) == 0 || std::memcmp(block, kSuper, 8) == 0;
}

// Calls visit(offset, block of a, block of b) for every block that differs.
template <class Visit>
void each_difference(const std::string& a, const std::string& b, Visit visit) {
  Fd fa = open_file(a, O_RDONLY), fb = open_file(b, O_RDONLY);
  static thread_local char here[256 * kBlock], there[256 * kBlock];
  off_t at = 0, size = ::lseek(fa.get(), 0, SEEK_END);
  while (at < size) {
    // Both are sparse: on to where either of them has something.
    off_t da = ::lseek(fa.get(), at, SEEK_DATA), db = ::lseek(fb.get(), at, SEEK_DATA);
    off_t next = da < 0 ? db : db < 0 ? da : std::min(da, db);
    if (next < 0) return;
    at = next / static_cast<off_t>(kBlock) * static_cast<off_t>(kBlock);
    ssize_t n = ::pread(fa.get(), here, sizeof here, at), m = ::pread(fb.get(), there, sizeof there, at);
    if (n <= 0 || n != m) throw Error(fmt::format("cannot compare '{}' with '{}'", a, b));
    for (std::size_t i = 0; i + kBlock <= static_cast<std::size_t>(n); i += kBlock)
      if (std::memcmp(here + i, there + i, kBlock) != 0) visit(at + static_cast<off_t>(i), here + i, there + i);
    at += n;
  }
}

}  // namespace

const char* to_text(FileSystem kind) { return kind == FileSystem::ext4 ? "ext4" : "xfs"; }

std::string why_no_images(FileSystem kind) {
  if (::geteuid() != 0) return "only root may mount";
  std::string make = std::string("/sbin/mkfs.") + to_text(kind);
  if (!runs({make, "-V"})) return make + " is not installed";
  try {
    ImageFolder folder;
    TempDir where;
    make_image(kind, folder / "probe");
    Mounted probe(kind, folder / "probe", where.path());
    return "";
  } catch (const std::exception& e) {
    return e.what();
  }
}

void keep_mounts_private() {
  if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) throw os_error("make", "mounts of its own", errno);
}

ImageFolder::ImageFolder() {
  struct statvfs fs {};
  bool memory = ::statvfs("/dev/shm", &fs) == 0 && fs.f_bavail * fs.f_frsize >= kRoom;
  const char* base = std::getenv("TMPDIR");
  path_ = std::string(memory ? "/dev/shm" : base && *base ? base : "/tmp") + "/ripcord-images-XXXXXX";
  if (!::mkdtemp(path_.data())) throw os_error("make", path_, errno);
}

ImageFolder::~ImageFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void make_image(FileSystem kind, const std::string& image) {
  const bool ext4 = kind == FileSystem::ext4;
  Fd fd = open_file(image, O_RDWR | O_CREAT | O_EXCL, 0600);
  // The smallest that XFS takes; an ext4 journal that does not wrap within one test, so that no block of it is written twice.
  if (::ftruncate(fd.get(), (ext4 ? 96ll : 300ll) << 20) != 0) throw os_error("make", image, errno);
  if (ext4) must({"/sbin/mkfs.ext4", "-q", "-F", "-b", "4096", "-N", "4096", "-J", "size=16", "-E", "lazy_itable_init=0", image});
  else must({"/sbin/mkfs.xfs", "-q", "-f", image});
  copy_image(image, image + ".sparse");
  if (::rename((image + ".sparse").c_str(), image.c_str()) != 0) throw os_error("rename", image, errno);
}

void copy_image(const std::string& from, const std::string& to) { must({"/bin/cp", "--sparse=always", from, to}); }

bool same_image(const std::string& a, const std::string& b) {
  bool same = true;
  each_difference(a, b, [&](off_t, const char*, const char*) { same = false; });
  return same;
}

void make_torn_image(const std::string& before, const std::string& after, unsigned seed, const std::string& to) {
  copy_image(before, to);
  Fd out = open_file(to, O_WRONLY);
  std::mt19937 random(seed);
  each_difference(before, after, [&](off_t at, const char*, const char* written) {
    if (random() % 2 == 0 || ends_a_transaction(written)) return;
    if (::pwrite(out.get(), written, kBlock, at) != static_cast<ssize_t>(kBlock)) throw os_error("write", to, errno);
  });
}

Mounted::Mounted(FileSystem kind, const std::string& image, std::string where) : where_(std::move(where)) {
  // commit: no journal commit by the clock. noauto_da_alloc: a rename flushes nothing by itself. nouuid: copies are mounted side by side.
  must({"/bin/mount", "-o", kind == FileSystem::ext4 ? "loop,commit=600,noauto_da_alloc" : "loop,nouuid", image, where_});
}

Mounted::~Mounted() {
  for (int i = 0; i < 100; ++i, ::usleep(10000))  // a process that was killed a moment ago may still hold it
    if (::umount2(where_.c_str(), 0) == 0) return;
  ::umount2(where_.c_str(), MNT_DETACH);
}

}  // namespace ripcord::test
