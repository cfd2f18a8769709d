// What on this host differs from what its own journals say should be there (docs/drift.md). Takes no lock and writes nothing to the
// units; what was learned about files by hashing them is noted in the state folder, unless the session is read-only.
#pragma once
#include "manifests/host/host_context.hpp"
#include "manifests/host/read_pace.hpp"
#include "manifests/shared/scan_messages.hpp"

namespace ripcord {

// The caller executes overdue reverts first. HostFailure cancelled: the controller hung up.
ScanReport scan(HostContext& host, const ScanRequest& request);

struct ScanManner {
  bool full = false;
  ReadPace& pace;
};
// One unit. What makes it impossible to look (a damaged journal) is a finding.
UnitScan scan_unit(HostContext& host, const UnitRef& ref, const ScanManner& manner);
// Programs in <state>/helper that are not what the folder's name says.
std::vector<DriftFinding> scan_helpers(HostContext& host, const ScanManner& manner);
// Units on this host that are not among `asked`: those with a journal, and folders of `roots` in which releases lie.
std::vector<UnitRef> other_units(const HostContext& host, const std::vector<UnitRef>& asked, const std::vector<std::string>& roots);

}  // namespace ripcord
