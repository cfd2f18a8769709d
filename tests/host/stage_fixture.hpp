// The release that tests of staging stage.
#pragma once
#include "tests/host/test_host.hpp"

namespace ripcord::test {

inline TestRelease sample(const std::string& version = "1.0") {
  TestRelease r(version);
  r.file("code/bin/server", std::string(300000, 'x') + version, 0755);
  r.file("code/README", "same in every version\n");
  r.file("code/COPY", "same in every version\n", 0600);  // the same object twice, under another mode
  r.file("code/empty", "");
  r.link("code/bin/alias", "server");
  r.dir("code/readonly", 0555);
  r.file("code/readonly/data", "d", 0444);
  r.file("config/common/app.conf.tmpl", "listen ${address}\nhost ${host}\nversion ${version}\n");
  r.file("config/datacenter/ams/dc.conf", "ams\n");
  r.file("config/datacenter/fra/dc.conf", "fra\n");
  r.manifest.spec.persist = {"data/uploads"};
  return r;
}

}  // namespace ripcord::test
