// A saved plan (ripcord plan -o FILE): {"format":1,"spec":…,"observed":…,"digest":…}.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "plans/rollout/preflight.hpp"

namespace ripcord {

std::string save_plan(const Preflight& preflight);
struct SavedPlan {
  RolloutSpec spec;
  std::map<std::string, std::string> observed;
  std::string digest;
};
SavedPlan load_saved_plan(const std::string& path);     // Error(Exit::invalid_file)
bool is_saved_plan(const std::string& path);
// The hosts whose fingerprint is not what the plan was bound to, with what changed.
std::vector<std::string> changed_since(const SavedPlan& plan, const Preflight& now);

}  // namespace ripcord
