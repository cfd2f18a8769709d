// ripcord-host: the program on the hosts. Static, needs nothing there, and is never started by people.
#include <malloc.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

#include "core/base/files.hpp"
#include "manifests/host/activation.hpp"
#include "manifests/host/install.hpp"
#include "manifests/host/serve.hpp"

using namespace ripcord;

namespace {

constexpr int kUsage = 64;

int usage() {
  std::fputs(
      "usage: ripcord-host serve [--root DIR] [--state-dir DIR] [--read-only]\n"
      "       ripcord-host recover [--root DIR] [--state-dir DIR]\n"
      "       ripcord-host install SHA256\n"
      "       ripcord-host version\n",
      stderr);
  return kUsage;
}

struct Options {
  std::string root, state_dir;
  bool read_only = false, good = true;
};

Options parse(const std::vector<std::string>& args) {
  Options o;
  for (std::size_t i = 0; i < args.size(); ++i) {
    bool more = i + 1 < args.size();
    if (args[i] == "--root" && more) o.root = args[++i];
    else if (args[i] == "--state-dir" && more) o.state_dir = args[++i];
    else if (args[i] == "--read-only") o.read_only = true;
    else o.good = false;
  }
  return o;
}

HostContext context(const Options& options) {
  auto host = HostContext::of_this_host(Layout::choose(options.root, options.state_dir));
  host.read_only = options.read_only;
  return host;
}

int run(const std::string& verb, const std::vector<std::string>& args) {
  if (verb == "version" && args.empty()) return std::puts("ripcord-host " RIPCORD_VERSION), 0;
  if (verb == "deadman") return deadman_main(args);
  if (verb == "install") {
    if (args.size() != 1) return usage();
    install_program(read_link("/proc/self/exe").value_or(""), args[0]);
    return std::puts("installed"), 0;
  }
  if (verb != "serve" && verb != "recover") return usage();
  auto options = parse(args);
  if (!options.good) return usage();
  auto host = context(options);
  if (verb == "serve") return serve(std::move(host), STDIN_FILENO, STDOUT_FILENO);
  for (const auto& r : recover(host)) std::printf("%s %s: %s\n", r.unit.c_str(), r.op.c_str(), r.what.c_str());
  return 0;
}

// Fresh pages cost the kernel more than everything that a session does with them: memory that was freed is used again, by all threads.
void keep_memory() {
  ::mallopt(M_ARENA_MAX, 1);
  ::mallopt(M_MMAP_THRESHOLD, 32 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 64 << 20);
  ::mallopt(M_TOP_PAD, 256 << 10);
}

}  // namespace

int main(int argc, char** argv) {
  keep_memory();
  // The configuration file of the host's OpenSSL is not ours, and a static program could not load what it names.
  OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, nullptr);
  ::umask(077);
  std::signal(SIGPIPE, SIG_IGN);  // a peer that went away must not stop a step
  std::signal(SIGHUP, SIG_IGN);
  if (!std::getenv("PATH")) ::setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 0);
  if (argc < 2) return usage();
  try {
    return run(argv[1], std::vector<std::string>(argv + 2, argv + argc));
  } catch (const Error& e) {
    std::fprintf(stderr, "ripcord-host: %s\n", e.what());
    if (!e.hint().empty()) std::fprintf(stderr, "  %s\n", e.hint().c_str());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "ripcord-host: %s\n", e.what());
  }
  return 1;
}
