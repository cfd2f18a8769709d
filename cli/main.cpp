#include <signal.h>
#include <unistd.h>

#include <iostream>

#include "cli/command.hpp"

int main(int argc, char** argv) {
  // A reader that goes away (ripcord status | head) must not kill a rollout half-way.
  ::signal(SIGPIPE, SIG_IGN);
  std::vector<std::string> words(argv + (argc > 0 ? 1 : 0), argv + argc);
  return ripcord::cli::run_cli(std::move(words), {std::cin, std::cout, std::cerr, ::isatty(0) == 1, ::isatty(1) == 1, ::isatty(2) == 1});
}
