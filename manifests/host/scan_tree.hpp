// One release's folder, compared with its tree; what was learned by reading is noted for the next scan, unless the session only reads.
#pragma once
#include <vector>

#include "manifests/host/release_folder.hpp"
#include "manifests/host/scan.hpp"

namespace ripcord {

struct TreeScan {
  std::vector<Finding> findings;  // at most kMaxScanFindings; what is below a folder that is gone or something else is left out
  std::uint64_t more = 0;
  std::uint64_t files = 0, hashed = 0, hashed_bytes = 0;
};
// HostFailure cancelled: nobody waits for it any more. What cannot be looked at is a finding.
TreeScan scan_tree(HostContext& host, const UnitLayout& unit, const StoredRelease& release, const ScanManner& manner);

}  // namespace ripcord
