// Starts a fleet of real sshds, prints where it lies, and keeps it until its standard input ends. For tests/bench/run.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>

#include "tests/support/sshd_fleet.hpp"

int main(int argc, char** argv) {
  ripcord::test::SshdFleetOptions options;
  options.hosts = argc > 1 ? std::atoi(argv[1]) : 12;
  options.datacenters = 4;
  ripcord::test::SshdFleet fleet(options);
  fmt::print("{} {} {}\n", fleet.folder(), fleet.port(), fleet.identity());
  for (int i = 1; i <= fleet.size(); ++i) fmt::print("{}\n", fleet.address(i));
  fmt::print("ready\n");
  std::fflush(stdout);
  char byte;
  while (::read(0, &byte, 1) > 0) {
  }
}
