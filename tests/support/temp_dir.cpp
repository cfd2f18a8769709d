#include "tests/support/temp_dir.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace ripcord::test {

namespace fs = std::filesystem;

TempDir::TempDir() {
  const char* base = std::getenv("TMPDIR");
  std::string name = std::string(base && *base ? base : "/tmp") + "/ripcord-test-XXXXXX";
  if (!::mkdtemp(name.data())) throw std::runtime_error("mkdtemp " + name + " failed: errno " + std::to_string(errno));
  path_ = name;
}

TempDir::~TempDir() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string TempDir::write(std::string_view name, std::string_view text, unsigned mode) const {
  auto path = *this / name;
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << text;
  if (::chmod(path.c_str(), mode) != 0) throw std::runtime_error("cannot write " + path);
  return path;
}

std::string TempDir::mkdir(std::string_view name) const {
  auto path = *this / name;
  fs::create_directories(path);
  return path;
}

void TempDir::link(std::string_view name, std::string_view target) const {
  auto path = *this / name;
  fs::create_directories(fs::path(path).parent_path());
  fs::create_symlink(std::string(target), path);
}

}  // namespace ripcord::test
