// An executable inventory: a program beside (or instead of) fleet.yaml that prints the same as YAML or JSON.
#pragma once
#include <string>

#include "core/base/text.hpp"

namespace ripcord {

inline constexpr std::size_t kMaxInventory = 64u << 20;

// A file with an execute bit that starts as a program does ("#!" or ELF): a fleet.yaml that merely lost its mode is not run.
bool is_inventory_program(const std::string& path);

// Runs it without a shell and without arguments, in its folder, standard input empty, and returns what it printed. Error when it
// fails, prints more than kMaxInventory, or is not done within the deadline (it is killed then, with its process group).
std::string run_inventory(const std::string& path, Millis deadline = Millis(10000));

}  // namespace ripcord
