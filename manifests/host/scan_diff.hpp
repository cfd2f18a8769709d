// How texts on this host differ from what they should be, secrets masked: the differences are made here, so that no secret leaves.
#pragma once
#include "manifests/host/host_context.hpp"

namespace ripcord {

struct ExpectedText {
  std::string path;  // in the release that should run, or absolute: one of the files it places
  std::string text;
};
// In order; a sentence where there is no text to compare. HostFailure.
std::vector<std::string> scan_diff(HostContext& host, const UnitRef& ref, const std::vector<ExpectedText>& files);

}  // namespace ripcord
