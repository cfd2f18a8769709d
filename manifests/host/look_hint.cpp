#include "manifests/host/look_hint.hpp"

#include <fmt/format.h>

#include "core/base/text.hpp"
#include "manifests/host/service.hpp"

namespace ripcord {

std::string how_to_look(const UnitLayout& unit, const ReleaseContext* release) {
  std::string out = fmt::format("to look: readlink {}", shell_quote(unit.current));
  if (release)
    for (const auto& s : release->spec.services) {
      if (!s.systemd.empty()) out += "; systemctl status " + shell_quote(s.systemd);
      else if (!s.run.empty() || !s.log.empty()) out += "; tail -n 50 " + shell_quote(log_file(*release, s));
    }
  return out + fmt::format("; tail -n 5 {}; then pull the cord again", shell_quote(unit.journal()));
}

}  // namespace ripcord
