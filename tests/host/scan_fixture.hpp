// A host on which two releases of one unit were deployed, and what a scan says of it.
#pragma once
#include <algorithm>
#include <string>
#include <vector>

#include "manifests/host/scan.hpp"
#include "tests/host/activation_fixture.hpp"

namespace ripcord::test {

inline TestRelease scanned_release(const std::string& version) {
  auto r = sleeper(version);
  r.file("code/lib/a", "aaaa" + version).file("code/lib/b", "bbbb").link("code/lib/link", "a").file("config/common/app.conf", "level = " + version + "\n");
  r.manifest.spec.files = {{"config/app.conf", "/etc/app.conf", "", 0640}};
  return r;
}

struct ScanHost : ActivationHost {
  ReleaseId first = deploy(scanned_release("1.0")), second = deploy(scanned_release("1.1"));
  ScanHost() { forget_times(); }

  std::string at(const std::string& path) const { return unit().release(second.folder()) + "/" + path; }
  ScanRequest request(bool full = false) const { return {.units = {ref()}, .roots = {"/srv"}, .full = full}; }
  UnitScan look(bool full = false) { return scan(host, request(full)).units.at(0); }
  // "kind path" of every finding, one a line.
  std::string found(bool full = false) { return text(look(full)); }
  static std::string text(const UnitScan& scan) {
    std::vector<std::string> lines;
    for (const auto& f : scan.findings) lines.push_back(f.path.empty() ? f.kind : f.kind + " " + f.path);
    std::sort(lines.begin(), lines.end());
    return join(lines, "\n");
  }
  // As if everything had been written long ago: only then does a scan note what it learned.
  void forget_times() {
    host.wall = [] { return wall_now() + Millis(60000); };
  }
};

}  // namespace ripcord::test
