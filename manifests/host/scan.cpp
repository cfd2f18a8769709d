#include "manifests/host/scan.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "core/base/files.hpp"
#include "core/base/text.hpp"
#include "manifests/host/beneath.hpp"
#include "manifests/host/journal.hpp"
#include "manifests/host/low_priority.hpp"
#include "manifests/host/traces.hpp"

namespace ripcord {
namespace {

constexpr int kNiceFull = 19, kNiceIncremental = 5;
constexpr std::size_t kLogins = 10, kMostOthers = 1000;

// Does the folder look as ripcord leaves it?
bool holds_releases(const std::string& folder) {
  auto target = read_link(folder + "/current");
  if (target) return target->starts_with(UnitLayout::link_target(""));
  struct stat st {};
  return ::lstat((folder + "/releases").c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}

}  // namespace

std::vector<UnitRef> other_units(const HostContext& host, const std::vector<UnitRef>& asked, const std::vector<std::string>& roots) {
  std::set<std::pair<std::string, std::string>> seen;
  for (const auto& ref : asked) seen.emplace(ref.root, ref.unit);
  std::vector<UnitRef> out;
  auto add = [&](const std::string& root, const std::string& unit) {
    if (out.size() < kMostOthers && seen.emplace(root, unit).second) out.push_back({unit, root});
  };
  std::set<std::string> names;
  for (const auto& ref : asked) names.insert(ref.unit);  // their journals were read for themselves
  for (const auto& ref : known_units(host.layout, names)) add(ref.root, ref.unit);
  for (const auto& root : roots) {
    auto path = host.layout.on_host(root);
    Fd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK));
    if (!folder) continue;
    for (const auto& entry : list_folder(folder.get(), path)) {
      bool may_be = entry.type == DT_DIR || entry.type == DT_UNKNOWN;
      if (may_be && entry.name[0] != '.' && entry.name.size() < 256 && holds_releases(path + "/" + entry.name)) add(root, entry.name);
    }
  }
  return out;
}

ScanReport scan(HostContext& host, const ScanRequest& request) {
  ScanReport report;
  int threads = request.threads > 0 ? std::min(request.threads, 64) : usable_cores();
  auto look = [&] {
    ReadPace pace(threads, request.max_rate, [&host] { return !host.peer_gone(); });
    ScanManner manner{request.full, pace};
    for (const auto& ref : request.units) report.units.push_back(scan_unit(host, ref, manner));
    report.findings = scan_helpers(host, manner);
    report.others = other_units(host, request.units, request.roots);
  };
  // Milliseconds of work need not wait until a busy host has nothing else to do; hashing all of it may.
  if (request.low_priority) with_low_priority(request.full ? kNiceFull : kNiceIncremental, look);
  else look();
  bool clean = report.findings.empty() && std::all_of(report.units.begin(), report.units.end(), [](const UnitScan& u) { return u.findings.empty(); });
  if (!clean || !report.others.empty()) report.logins = last_logins(host.layout, kLogins);
  report.arch = host.arch;
  report.wall_ms = host.wall().ms;
  return report;
}

}  // namespace ripcord
