// A stand-in for the host program in tests of links: `install <digest>` as the real one, `serve [--root DIR]` answers the preamble
// and then echoes what it reads. A line at the start of a session that begins with '!' makes it do something else:
//   !exit      ends at once          !hang       reads nothing any more
//   !errors N  prints N lines on standard error, then echoes
//   !who       prints uid and its own path, then echoes
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "core/base/digest.hpp"
#include "core/base/error.hpp"
#include "core/base/files.hpp"

using namespace ripcord;

namespace {

int install(const std::string& digest) {
  auto self = read_link("/proc/self/exe").value_or("");
  if (sha256(read_file(self)).hex() != digest) return std::fprintf(stderr, "the program arrived damaged\n"), 3;
  std::string folder = parent_dir(self), helpers = parent_dir(folder), final_name = helpers + "/" + digest;
  Fd fd = open_file(self, O_RDONLY);
  fsync_fd(fd.get(), self);
  fsync_dir(folder);
  if (::rename(folder.c_str(), final_name.c_str()) != 0 && errno != ENOTEMPTY && errno != EEXIST)
    throw os_error("rename into place", final_name, errno);
  fsync_dir(helpers);
  std::puts("installed");
  return 0;
}

std::string read_line() {  // byte by byte: nothing behind it may be swallowed
  std::string line;
  char c;
  while (::read(0, &c, 1) == 1 && c != '\n') line.push_back(c);
  return line;
}

int serve() {
  std::string hello = read_line();
  if (hello.rfind("RIPCORD ", 0) != 0) return std::fprintf(stderr, "no preamble\n"), 2;
  write_all(1, "RIPCORD-HOST " + hello.substr(8) + "\n", "stdout");
  char bytes[65536];
  bool first = true;
  while (true) {
    ssize_t size = ::read(0, bytes, sizeof bytes);
    if (size <= 0) return 0;
    std::string_view got(bytes, static_cast<std::size_t>(size));
    if (std::exchange(first, false) && got.front() == '!') {
      if (got.starts_with("!exit")) return 7;
      if (got.starts_with("!hang")) ::pause();
      if (got.starts_with("!errors"))
        for (int i = 1, n = std::stoi(std::string(got.substr(8))); i <= n; ++i) std::fprintf(stderr, "line %d\n", i);
      if (got.starts_with("!who")) {
        write_all(1, std::to_string(::getuid()) + " " + read_link("/proc/self/exe").value_or("") + "\n", "stdout");
        continue;
      }
    }
    write_all(1, got, "stdout");
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc == 3 && std::strcmp(argv[1], "install") == 0) return install(argv[2]);
    if (argc >= 2 && std::strcmp(argv[1], "serve") == 0) return serve();
  } catch (const Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
  return 64;
}
