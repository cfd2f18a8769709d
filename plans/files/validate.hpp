// What can be wrong between files that are each right by themselves. Pure: no file, no host is looked at.
#pragma once
#include <string>
#include <vector>

#include "manifests/unit_file.hpp"
#include "plans/files/fleet.hpp"
#include "plans/files/plan.hpp"

namespace ripcord {

// One sentence a finding, empty when all is well: a selector that is malformed or matches no host, a plan for another unit, stages
// that take no host or leave hosts out, variables that a selected host lacks. `templates` are the unit's config templates
// (template_uses_in); without a plan the ladder is meant, which always fits.
std::vector<std::string> cross_check(const Fleet& fleet, const UnitSpec& unit, const Plan* plan, const std::vector<TemplateUse>& templates = {});

}  // namespace ripcord
