#include "cli/set_aside.hpp"

#include <fmt/format.h>

#include <map>

#include "cli/target.hpp"
#include "cli/unit_hold.hpp"

namespace ripcord::cli {

std::vector<std::string> set_aside(Context& c, const std::vector<DamagedRelease>& damaged) {
  std::vector<std::string> failed;
  if (damaged.empty()) return failed;
  std::map<Digest, ReleaseOnHand> releases;
  std::vector<RestageJob> jobs;
  for (const auto& d : damaged) {
    if (!releases.contains(d.release.manifest)) releases.emplace(d.release.manifest, load_release(c.store(), d.release.manifest));
    const auto* host = c.fleet().find(d.host);
    if (!host) continue;
    RestageJob job;
    job.host = d.host, job.unit = d.unit, job.release = d.release, job.on_hand = &releases.at(d.release.manifest), job.labels = host->labels;
    jobs.push_back(std::move(job));
  }
  if (jobs.empty()) return failed;
  const auto unit = jobs.front().unit.unit;
  std::vector<const Host*> hosts;
  for (const auto& job : jobs) hosts.push_back(c.fleet().find(job.host));
  UnitHold hold(c, unit, "set-aside", "damaged releases are put right");
  refuse_open_rollouts(c, unit, hosts);  // asked before as well; now nobody can begin one
  auto packs = store_packs(c.store());
  hold.run(restage(c.loop(), c.ports(), *packs, jobs, kLookWidth));
  std::vector<json::object> entries;
  for (const auto& job : jobs) {
    if (!job.failed.empty()) {
      c.out().warn(fmt::format("{}: release {} could not be put right: {}", job.host, job.release.folder(), job.failed));
      failed.push_back(job.host);
      continue;
    }
    json::object o{{"kind", "drift.set_aside"}, {"unit", job.unit.unit}, {"host", job.host}, {"release", job.release.folder()}};
    if (!job.kept.empty()) {
      o["kept"] = job.kept;
      c.out().note(fmt::format("{}: release {} is whole again; what was there is kept in {}", job.host, job.release.folder(), job.kept));
    }
    entries.push_back(std::move(o));
  }
  if (!entries.empty()) c.append(std::move(entries));
  hold.require_held();  // behind the record of what was done
  return failed;
}

}  // namespace ripcord::cli
