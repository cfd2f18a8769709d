#include "manifests/host/scan_tree.hpp"

#include <map>
#include <set>

#include "manifests/host/tree_walk.hpp"

namespace ripcord {
namespace {

// So that the next incremental scan, and the next activation, need not read it again, or must.
void note(HostContext& host, const UnitLayout& unit, const StoredRelease& release, const StatCache& cache, const Walked& walked,
          const std::vector<FileToHash>& hashed) {
  if (host.read_only || hashed.size() != walked.doubtful.size()) return;
  auto now = static_cast<std::uint64_t>(host.wall().ms) * 1000000;
  auto old_enough = [&](const StatEntry& s) { return s.ctime_ns + kSameTickNs < now; };
  std::map<std::size_t, StatEntry> learned;
  for (std::size_t n = 0; n < hashed.size(); ++n) {
    const auto& f = hashed[n];
    auto index = walked.doubtful[n];
    auto before = StatEntry::of(f.before);
    bool right = f.error == 0 && f.digest == release.tree.entries[index].digest && f.powers.empty();
    bool steady = f.error == 0 && before == StatEntry::of(f.after) && old_enough(before);
    if (right && !steady) continue;
    auto entry = right ? before : StatEntry{};
    if (cache[index] != entry) learned.emplace(index, entry);
  }
  for (const auto& [index, stat] : walked.folders)
    if (old_enough(stat) && cache[index] != stat) learned.emplace(index, stat);
  if (learned.empty()) return;
  try {
    note_hashed(unit, release, learned);
  } catch (const Error&) {  // a full disk: then it is read again next time
  }
}

}  // namespace

TreeScan scan_tree(HostContext& host, const UnitLayout& unit, const StoredRelease& release, const ScanManner& manner) {
  Findings findings(kMaxScanFindings);
  auto cache = load_stat_cache(unit, release);
  std::vector<FileToHash> hashed;
  Walked walked;
  try {
    walked = walk_tree(unit, release, manner.full ? nullptr : &cache, findings);
    if (!read_doubtful(unit, release, walked.doubtful, manner.pace, findings, hashed))
      throw HostFailure("cancelled", "the controller hung up before the scan had ended");
  } catch (const HostFailure& e) {
    if (e.code() == "cancelled") throw;
    findings.add("unreadable", ".", e.what());
  }
  TreeScan out;
  out.files = release.tree.entries.size();
  out.hashed = hashed.size();
  for (const auto& f : hashed) out.hashed_bytes += f.size;
  note(host, unit, release, cache, walked, hashed);
  std::set<std::string> gone;  // a folder that is missing or something else says it for all below it
  for (auto& f : findings.list) {
    if (f.kind == "missing" || f.kind == "type") gone.insert(f.path);
    auto slash = f.path.rfind('/');
    if (f.kind == "missing" && slash != std::string::npos && gone.contains(f.path.substr(0, slash))) continue;
    out.findings.push_back(std::move(f));
  }
  out.more = findings.more;
  return out;
}

}  // namespace ripcord
