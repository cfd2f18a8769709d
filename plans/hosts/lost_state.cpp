#include "plans/hosts/lost_state.hpp"

#include <fmt/format.h>

#include "manifests/shared/release_name.hpp"

namespace ripcord {

std::string lost_state(Observation::Current current, const std::string& link_target, bool operations, const UnitRef& unit, const std::string& host) {
  constexpr std::string_view kOurs = "releases/";
  const bool ours = link_target.starts_with(kOurs) && is_release_folder(std::string_view(link_target).substr(kOurs.size()));
  if (operations || current != Observation::Current::foreign_link || !ours) return "";
  return fmt::format("'current' names {}, and nothing is recorded about it: its state folder was emptied, and nobody knows what was started from there. Stop the "
                     "service on the host, `rm {}/{}/current` there, and `ripcord converge {} -m WHY` brings the release anew; what lies there now is kept beside it",
                     link_target, unit.root == "/" ? "" : unit.root, unit.unit, host);
}

}  // namespace ripcord
