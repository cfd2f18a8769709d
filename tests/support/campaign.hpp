// Long campaigns: a test that can go through everything does so with RIPCORD_LONG=1 (tests/run --long), and takes a sample without.
#pragma once
#include <stdlib.h>

#include <fstream>
#include <string>

namespace ripcord::test {

inline bool long_campaign() { return ::getenv("RIPCORD_LONG") != nullptr; }

// One line of what was tried and what came of it, for the record of a campaign.
inline void total(const std::string& line) {
  if (const char* path = ::getenv("RIPCORD_TOTALS")) std::ofstream(path, std::ios::app) << line << "\n";
}

}  // namespace ripcord::test
