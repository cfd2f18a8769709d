// Runs the command line in this process, as main does but without a terminal.
#pragma once
#include <sstream>
#include <string>
#include <vector>

#include "cli/command.hpp"

namespace ripcord::test {

struct Ran {
  int exit = 0;
  std::string out, err;
};

inline Ran run(std::vector<std::string> words, bool terminal = false, const std::string& typed = "") {
  std::istringstream in(typed);
  std::ostringstream out, err;
  cli::Streams streams{in, out, err, terminal, false, terminal};
  int exit = cli::run_cli(std::move(words), streams);
  return {exit, out.str(), err.str()};
}

}  // namespace ripcord::test
