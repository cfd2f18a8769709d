// One thing that doctor looked at, and what to do about it.
#pragma once
#include <string>
#include <vector>

#include "cli/context.hpp"

namespace ripcord::cli {

struct Check {
  std::string what, detail, cure;
  enum class Result { ok, warning, failed } result = Result::ok;
  Exit exit = Exit::done;
};

// Could this machine pull the cord for these units now? Hosts are only read. What a rollback does not need is at most a warning.
std::vector<Check> check_cord(Context& context, const std::vector<const Host*>& hosts, const std::vector<std::string>& units);

}  // namespace ripcord::cli
