// The example that `ripcord init` makes, used by the built program: a local fleet of three hosts with real processes.
#pragma once
#include <signal.h>

#include <filesystem>
#include <string>
#include <vector>

#include "core/base/files.hpp"
#include "core/base/process.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"

namespace ripcord::test {

struct Demo {
  TempDir dir;
  std::string folder = dir / "demo";

  Demo() {
    auto made = ripcord_in(dir.path(), {"init", folder});
    INFO(made.output);
    REQUIRE(made.exit == 0);
  }
  // Services run from below the folder, and nobody else's do.
  ~Demo() {
    std::error_code gone;
    for (const auto& entry : std::filesystem::directory_iterator("/proc", gone)) {
      auto name = entry.path().filename().string();
      if (name.find_first_not_of("0123456789") != name.npos) continue;
      auto cwd = std::filesystem::read_symlink(entry.path() / "cwd", gone).string();
      if (cwd.starts_with(folder + "/hosts/")) ::kill(std::stoi(name), SIGKILL);
    }
  }

  static Command command(const std::string& cwd, std::vector<std::string> words) {
    Command c;
    c.argv = std::move(words);
    c.argv.insert(c.argv.begin(), RIPCORD_BUILD_DIR "/ripcord");
    c.cwd = cwd;
    c.env = std::vector<std::string>{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "HOME=" + cwd, "RIPCORD_WHO=ana", "TZ=UTC"};
    return c;
  }
  static RunResult ripcord_in(const std::string& cwd, std::vector<std::string> words) {
    return run_process(command(cwd, std::move(words)), Millis(120000), 1 << 20);
  }
  RunResult ripcord(std::vector<std::string> words) { return ripcord_in(folder, std::move(words)); }

  void replace(const std::string& file, const std::string& from, const std::string& to) {
    auto path = folder + "/" + file;
    auto text = read_file(path);
    auto at = text.find(from);
    REQUIRE(at != text.npos);
    text.replace(at, from.size(), to);
    write_file_durable(path, text, file.find("/bin/") == file.npos ? 0644 : 0755);
  }
};

}  // namespace ripcord::test
