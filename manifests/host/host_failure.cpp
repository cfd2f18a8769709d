#include "manifests/host/host_failure.hpp"

#include <fmt/format.h>

#include <cerrno>

namespace ripcord {

HostFailure host_os_error(const std::string& action, const std::string& path, int error) {
  auto text = fmt::format("cannot {} '{}': {}", action, path, errno_text(error));
  switch (error) {
    case ENOSPC:
    case EDQUOT: return HostFailure("no_space", text, "free space (or inodes) on that file system and try again; nothing was switched");
    case EROFS: return HostFailure("read_only", text, "the file system is mounted read-only; remount it or look for disk errors in the kernel log");
    default: return HostFailure("internal", text);
  }
}

HostError to_host_error(const std::exception& e) {
  if (const auto* failure = dynamic_cast<const HostFailure*>(&e)) return {failure->code(), failure->what(), failure->hint()};
  if (const auto* error = dynamic_cast<const Error*>(&e)) return {"internal", error->what(), error->hint()};
  return {"internal", e.what(), ""};
}

}  // namespace ripcord
