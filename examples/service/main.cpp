// sample-service --config FILE: an HTTP service to practise rollouts on. /healthz, /version, /metrics, and "hello" elsewhere.
// Runs in the foreground. SIGTERM stops it within a second, SIGHUP reads the config again.
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <fstream>
#include <string>

#include "config.hpp"
#include "server.hpp"

int main(int argc, char** argv) {
  if (argc != 3 || std::string(argv[1]) != "--config") {
    std::fprintf(stderr, "usage: sample-service --config FILE\n");
    return 64;
  }
  sigset_t wanted;
  sigemptyset(&wanted);
  for (int s : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&wanted, s);
  sigprocmask(SIG_BLOCK, &wanted, nullptr);
  int signal_fd = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
  std::string pidfile;
  int code = 1;
  try {
    pidfile = sample::load_config(argv[2]).pidfile;
    sample::Server server(argv[2]);
    if (!pidfile.empty()) std::ofstream(pidfile) << ::getpid() << "\n";
    code = server.run(signal_fd);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "sample-service: %s\n", e.what());
  }
  if (!pidfile.empty()) ::unlink(pidfile.c_str());
  return code;
}
