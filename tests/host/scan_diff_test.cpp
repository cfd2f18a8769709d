#include "manifests/host/scan_diff.hpp"

#include "core/base/files.hpp"
#include "manifests/host/text_diff.hpp"
#include "tests/host/activation_fixture.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;
using namespace ripcord::test;

TEST_CASE("differences of texts are shown as diff -u shows them", "[diff]") {
  CHECK(unified_diff("a\n", "a\n").empty());
  CHECK(unified_diff("a\nb\nc\n", "a\nB\nc\n") == "@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n");
  CHECK(unified_diff("", "x\n") == "@@ -1,0 +1,1 @@\n+x\n");
  CHECK(unified_diff("x\n", "") == "@@ -1,1 +1,0 @@\n-x\n");
  CHECK(unified_diff("a", "a\n") == "only the newline at the end differs\n");
  CHECK(unified_diff(std::string("a\0", 2), "a") == "binary files differ\n");
  std::string many, other;
  for (int i = 0; i < 30; ++i) many += std::to_string(i) + "\n", other += (i == 2 || i == 27 ? "x" : std::to_string(i)) + "\n";
  CHECK(unified_diff(many, other) ==
        "@@ -1,6 +1,6 @@\n 0\n 1\n-2\n+x\n 3\n 4\n 5\n@@ -25,6 +25,6 @@\n 24\n 25\n 26\n-27\n+x\n 28\n 29\n");
  std::string huge(3000, '\n'), huger;
  for (int i = 0; i < 3000; ++i) huger += "x\n";
  CHECK(unified_diff(huge, huger) == "too much differs to be shown\n");
}

TEST_CASE("what is named like a secret is not shown", "[diff]") {
  CHECK(mask_assignments("+db_password = hunter2\n listen = 80") == "+db_password = ***\n listen = 80");
  CHECK(mask_assignments("API_KEY: \"abc\"") == "API_KEY: ***");
  CHECK(mask_assignments("password =") == "password =");
  CHECK(mask_assignments("the secret garden") == "the secret ***");
}

TEST_CASE("a host tells how its texts differ, with its secrets masked, and of no other files", "[diff]") {
  ActivationHost h;
  auto r = sleeper("1.0");
  r.file("config/common/app.conf", "level = 1\nuser = web\n");
  r.manifest.spec.files = {{"config/app.conf", "/etc/app.conf", "", 0640}};
  r.manifest.spec.secrets = {"/etc/secret"};
  h.dir.write("etc/secret", "swordfish\n");
  auto id = h.deploy(r);
  put(h.unit().release(id.folder()) + "/config/app.conf", "level = 1\nuser = swordfish\nauth_token = zzz\n");
  put(h.dir / "etc/app.conf", "level = 2\nuser = web\n");
  std::string expected = "level = 1\nuser = web\n";
  auto diffs = scan_diff(h.host, h.ref(), {{"config/app.conf", expected}, {h.dir / "etc/app.conf", expected}, {"/etc/shadow", ""}, {"../x", ""}, {"config", ""}});
  REQUIRE(diffs.size() == 5);
  CHECK(diffs[0] == "@@ -1,2 +1,3 @@\n level = 1\n-user = web\n+user = ***\n+auth_token = ***\n");
  CHECK(diffs[1] == "@@ -1,2 +1,2 @@\n-level = 1\n+level = 2\n user = web\n");
  CHECK(diffs[2] == "the release does not place it\n");
  CHECK(diffs[3].starts_with("it cannot be read: "));
  CHECK(diffs[4] == "it is no file\n");
}
