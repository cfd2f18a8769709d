#include "manifests/host/tree_walk.hpp"

namespace ripcord {

VerifyResult verify_release(const UnitLayout& unit, const StoredRelease& release, Verify how) {
  if (how == Verify::none) return {};
  Findings findings(kMaxFindings);
  StatCache cache = load_stat_cache(unit, release);
  auto walked = walk_tree(unit, release, how == Verify::quick ? &cache : nullptr, findings);
  ReadPace pace(1, 0, {});
  std::vector<FileToHash> hashed;
  read_doubtful(unit, release, walked.doubtful, pace, findings, hashed);
  VerifyResult result{std::move(findings.list), findings.more, hashed.size()};
  return result;
}

}  // namespace ripcord
