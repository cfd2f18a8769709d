#include "core/net/ledger_place.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "core/base/error.hpp"
#include "core/base/files.hpp"
#include "core/base/text.hpp"

namespace ripcord {
namespace {

constexpr std::uint64_t kFuse = 0x65735546;

struct Known {
  std::uint64_t magic;
  const char* name;
};
// From statfs(2) and linux/magic.h. Not here: 9p and virtiofs (how virtual machines and sandboxes show a local disk), and
// cluster file systems with working locks (gfs2, ocfs2).
constexpr std::array<Known, 10> kNetwork{{{0x6969, "NFS"},
                                          {0x517B, "SMB"},
                                          {0xFF534D42, "CIFS"},
                                          {0xFE534D42, "SMB"},
                                          {0x564C, "NCP"},
                                          {0x5346414F, "AFS"},
                                          {0x6B414653, "AFS"},
                                          {0x73757245, "Coda"},
                                          {0x00C36400, "Ceph"},
                                          {0x0BD00BD0, "Lustre"}}};

// FUSE is local as often as not (ntfs-3g, fuse-overlayfs under a rootless container), so only those known to go over a
// network are refused.
constexpr std::array<std::string_view, 16> kFuseNetwork{"sshfs", "s3fs", "rclone", "gcsfuse", "goofys", "glusterfs", "ceph-fuse",
                                                        "davfs", "davfs2", "curlftpfs", "smbnetfs", "mfs", "juicefs", "blobfuse",
                                                        "blobfuse2", "JuiceFS"};

// Third column of mountinfo is major:minor; the type follows the lone "-" (proc(5)).
std::string mount_type_of(dev_t device) {
  auto wanted = fmt::format("{}:{}", major(device), minor(device));
  auto mounts = read_file_if_exists("/proc/self/mountinfo");
  if (!mounts) return {};
  for (const auto& line : split(*mounts, '\n')) {
    auto words = split(line, ' ');
    auto dash = std::find(words.begin(), words.end(), "-");
    if (words.size() > 3 && words[2] == wanted && dash != words.end() && dash + 1 != words.end()) return *(dash + 1);
  }
  return {};
}

}  // namespace

std::optional<std::string> network_file_system(std::uint64_t magic, std::string_view mount_type) {
  for (const auto& known : kNetwork)
    if (known.magic == magic) return known.name;
  if (magic != kFuse || mount_type.substr(0, 5) != "fuse.") return std::nullopt;
  auto kind = mount_type.substr(5);
  if (std::find(kFuseNetwork.begin(), kFuseNetwork.end(), kind) == kFuseNetwork.end()) return std::nullopt;
  return std::string(kind);
}

void prepare_ledger_place(const std::string& path) {
  std::string folder = parent_dir(absolute_path(path));
  make_dirs(folder, 0700);
  struct statfs fs {};
  struct stat st {};
  if (::statfs(folder.c_str(), &fs) != 0 || ::stat(folder.c_str(), &st) != 0) throw os_error("look at", folder, errno);
  // f_type is signed on some ports and CIFS has the top bit set.
  auto magic = static_cast<std::uint64_t>(static_cast<std::uint32_t>(fs.f_type));
  if (auto name = network_file_system(magic, magic == kFuse ? mount_type_of(st.st_dev) : std::string()))
    throw Error(fmt::format("cannot keep ledger '{}' on a network file system ({}): file locks there do not keep two machines apart", path, *name),
                "set ledger: in fleet.yaml to a path on a local disk of the machine that deploys");
}

}  // namespace ripcord
