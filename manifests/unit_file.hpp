// unit.yaml, as people write it (docs/files.md), decoded strictly into a UnitSpec.
#pragma once
#include <string>

#include "manifests/shared/unit_spec.hpp"

namespace ripcord {

// Reads <folder>/unit.yaml. Besides the form it checks what can be checked without a fleet: folders named by code: and config:
// exist, argv[0] of run/start/... that is relative exists in the code tree, files: come from the release, templates parse.
// Error(Exit::invalid_file) with every mistake.
UnitSpec load_unit(const std::string& folder);
UnitSpec decode_unit(const std::string& name, std::string text);  // without the checks against the folder

}  // namespace ripcord
