#include "manifests/host/install.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "core/base/text.hpp"
#include "manifests/host/beneath.hpp"
#include "manifests/host/file_hash.hpp"
#include "manifests/host/host_failure.hpp"
#include "manifests/host/own_files.hpp"

namespace ripcord {

void install_program(const std::string& program, const std::string& sha256) {
  auto folder = parent_dir(program), helper = parent_dir(folder);
  auto folder_name = folder.substr(folder.rfind('/') + 1);
  if (!Digest::parse(sha256) || folder_name.compare(0, sha256.size() + 5, sha256 + ".tmp-") != 0)
    throw HostFailure("bad_request", fmt::format("'{}' is not <state>/helper/{}.tmp-.../ripcord-host", program, escape_terminal(sha256.substr(0, 80))));
  Fd fd(::open(program.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) throw host_os_error("open", program, errno);
  auto digest = hash_file(fd.get());
  if (!digest) throw host_os_error("read", program, errno);
  if (digest->hex() != sha256)
    throw HostFailure("damaged", fmt::format("the program did not arrive whole: expected sha256 {}, found {}", sha256, digest->hex()),
                      "push it again; if this happens twice, look at the disk of that host");
  if (::fchmod(fd.get(), 0700) != 0) throw host_os_error("set the mode of", program, errno);
  if (::fsync(fd.get()) != 0) throw host_os_error("fsync", program, errno);
  fsync_own_dir(folder);
  auto place = helper + "/" + sha256;
  if (::rename(folder.c_str(), place.c_str()) != 0) {
    if (errno != ENOTEMPTY && errno != EEXIST) throw host_os_error("rename into place", place, errno);
    Fd parent(::open(helper.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (parent) remove_beneath(parent.get(), folder_name, folder);
  }
  fsync_own_dir(helper);
}

}  // namespace ripcord
