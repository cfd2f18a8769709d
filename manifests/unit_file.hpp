// unit.yaml, as people write it (docs/files.md), decoded strictly into a UnitSpec.
#pragma once
#include <string>
#include <vector>

#include "manifests/shared/unit_spec.hpp"

namespace ripcord {

// Reads <folder>/unit.yaml. Besides the form it checks what can be checked without a fleet: folders named by code: and config:
// exist (they default to `code` and `config` where those are there), argv[0] of run/start/... that is relative exists in the code
// tree and can be executed, files: come from the release, templates parse. The selector is checked with the fleet (plans/files/validate.hpp).
// Error(Exit::invalid_file) with every mistake.
UnitSpec load_unit(const std::string& folder);
UnitSpec decode_unit(const std::string& name, std::string text);  // without the checks against the folder

// Where a unit uses variables, to hold against the labels of the hosts that carry it.
struct TemplateUse {
  std::string where;                   // "health check 1: http", "config/role/web/app.conf.tmpl"
  std::vector<std::string> variables;
  std::string label, value;            // only for hosts with this label ("" for all): an overlay's
  bool config = false;                 // rendered before the tree has a name: no release, current, shared
};
std::vector<TemplateUse> template_uses(const UnitSpec& spec);                                   // of the spec itself
std::vector<TemplateUse> template_uses_in(const std::string& folder, const UnitSpec& spec);    // of config templates on disk

}  // namespace ripcord
