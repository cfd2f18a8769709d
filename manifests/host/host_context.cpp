#include "manifests/host/host_context.hpp"

#include <sys/utsname.h>

#include "core/base/files.hpp"
#include "core/base/text.hpp"
#include "manifests/host/own_files.hpp"

namespace ripcord {

HostContext HostContext::of_this_host(Layout layout) {
  HostContext host;
  host.layout = std::move(layout);
  host.program = read_link("/proc/self/exe").value_or("");
  host.boot_id = trim(read_file("/proc/sys/kernel/random/boot_id", 4096));
  utsname name{};
  if (::uname(&name) == 0) host.arch = name.machine;
  return host;
}

std::string HostContext::host_id() const {
  auto text = read_file_if_exists(layout.host_id_file(), 4096);
  return text ? std::string(trim(*text)) : std::string();
}

std::string HostContext::ensure_host_id() {
  if (auto id = host_id(); !id.empty()) return id;
  make_own_dirs(layout.state);
  auto id = random_hex(16);
  write_own_file(layout.host_id_file(), id + "\n");
  return host_id();  // a session beside us may have won the rename
}

void HostContext::ensure_unit_state(const UnitLayout& unit) { make_own_dirs(unit.state); }

}  // namespace ripcord
