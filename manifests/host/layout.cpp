#include "manifests/host/layout.hpp"

#include <unistd.h>

#include <cstdlib>

#include "core/base/files.hpp"
#include "core/base/text.hpp"
#include "manifests/host/host_failure.hpp"

namespace ripcord {
namespace {

bool plain_name(const std::string& name) {
  if (name.empty() || name.size() > 64 || name[0] == '.' || name[0] == '-') return false;
  return name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == std::string::npos;
}

bool clean_absolute(const std::string& path) {
  if (path.empty() || path[0] != '/' || path.size() > 1000) return false;
  if (path == "/") return true;
  auto parts = split(path.substr(1), '/');
  for (const auto& part : parts) {
    if (part.empty() || part == "." || part == "..") return false;
    for (unsigned char c : part)
      if (c < 0x20 || c == 0x7f) return false;
  }
  return true;
}

std::string without_slash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path == "/" ? "" : path;
}

}  // namespace

Layout Layout::choose(const std::string& root, const std::string& state_dir) {
  Layout layout;
  if (!root.empty()) layout.prefix = without_slash(absolute_path(root));
  if (!state_dir.empty()) {
    layout.state = without_slash(absolute_path(state_dir));
  } else if (!root.empty()) {
    layout.state = layout.prefix + "/var/lib/ripcord";
  } else if (::geteuid() == 0) {
    layout.state = "/var/lib/ripcord";
  } else {
    const char* home = std::getenv("HOME");
    if (!home || !*home)
      throw HostFailure("bad_request", "no state folder: HOME is not set and the user is not root", "give --state-dir DIR");
    layout.state = without_slash(home) + "/.local/state/ripcord";
  }
  return layout;
}

std::string Layout::on_host(const std::string& absolute) const {
  bool there_already = !prefix.empty() && absolute.compare(0, prefix.size(), prefix) == 0 &&
                       (absolute.size() == prefix.size() || absolute[prefix.size()] == '/');
  return there_already ? absolute : prefix + absolute;
}

std::optional<std::string> Layout::trust_file() const {
  for (const auto& path : {state + "/trust/allowed_signers", prefix + "/etc/ripcord/allowed_signers"})
    if (exists(path)) return path;
  return std::nullopt;
}

UnitLayout Layout::unit(const UnitRef& ref) const {
  if (!plain_name(ref.unit))
    throw HostFailure("bad_path", "'" + escape_terminal(ref.unit.substr(0, 80)) + "' is not a unit's name",
                      "use 1 to 64 letters, digits, '.', '_' or '-', not starting with '.' or '-'");
  if (!clean_absolute(ref.root))
    throw HostFailure("bad_path", "'" + escape_terminal(ref.root.substr(0, 200)) + "' is not an install root",
                      "use an absolute path without '.', '..' or empty parts");
  UnitLayout out;
  out.unit = ref.unit;
  out.root = ref.root;
  out.state = units() + "/" + ref.unit;
  out.unit_root = on_host(ref.root == "/" ? "" : ref.root) + "/" + ref.unit;
  out.releases = out.unit_root + "/releases";
  out.current = out.unit_root + "/current";
  out.shared = out.unit_root + "/shared";
  return out;
}

}  // namespace ripcord
