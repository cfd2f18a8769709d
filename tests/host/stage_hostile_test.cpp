// Staging what hostile or careless hands send: refused before anything is written, and nothing is left behind.
#include <sys/stat.h>
#include <unistd.h>

#include "manifests/host/stage.hpp"
#include "manifests/host/release_folder.hpp"
#include "manifests/host/staging_folder.hpp"
#include "tests/host/stage_fixture.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;
using namespace ripcord::test;

TEST_CASE("packs that are not what was asked for leave nothing behind", "[stage]") {
  TestHost h;
  auto r = sample();
  auto pack = r.pack(h.offered(r).lacking);
  auto refused = [&](const std::string& bytes) { return refusal([&] { h.stage_with(r, bytes); }); };
  SECTION("cut short") {
    CHECK(refused(pack.substr(0, pack.size() / 2)).message == "the pack cannot be used: the pack is not complete");
  }
  SECTION("a flipped byte") {
    for (auto at = pack.size() / 3; at < pack.size(); at += pack.size() / 7) {
      auto bad = pack;
      bad[at] ^= 0x10;
      CHECK_FALSE(refused(bad).code.empty());
    }
  }
  SECTION("an object nobody asked for") {
    auto r2 = r;
    r2.file("code/other", "not asked for");
    CHECK(refused(r2.pack({sha256("not asked for")})).message ==
          "the pack holds the object " + sha256("not asked for").hex() + ", which was not asked for");
  }
  SECTION("an object of another length than the manifest says") {
    auto lying = r;
    lying.objects[sha256("d")] = "dd";
    CHECK(refused(lying.pack({sha256("d")})).message ==
          "the object " + sha256("d").hex() + " has 2 bytes in the pack and 1 in the manifest");
  }
  SECTION("an object twice") {
    CHECK(refused(r.pack({sha256("d"), sha256("d")})).code == "bad_request");
  }
  SECTION("something lacking") {
    auto r2 = refused(r.pack({sha256("d")}));
    CHECK(r2.code == "missing_objects");
    CHECK(r2.message.find("5 objects of the release did not come") == 0);
  }
  CHECK(names_in(h.unit().releases).empty());
  CHECK(names_in(h.unit().metadata()).empty());
  CHECK(h.stage(r).complete);
}

TEST_CASE("hostile manifests are refused before anything is written", "[stage]") {
  TestHost h;
  auto refused = [&](const TestRelease& r) {
    auto result = refusal([&] { h.stage(r); });
    CHECK_FALSE(exists(h.unit().unit_root));
    CHECK_FALSE(exists(h.unit().state));
    return result;
  };
  CHECK(refused(TestRelease("1.0").file("code/../../etc/passwd", "x")).code == "bad_request");
  CHECK(refused(TestRelease("1.0").file("code/a\nb", "x")).message.find("'code/a\\nb'") != std::string::npos);
  CHECK(refused(TestRelease("1.0").file("/etc/passwd", "x")).code == "bad_request");
  CHECK(refused(TestRelease("1.0").file("code/" + std::string(256, 'a'), "x")).code == "bad_request");
  CHECK(refused(TestRelease("1.0").link("code/out", "../../../etc")).code == "bad_request");
  CHECK(refused(TestRelease("1.0").link("code/out", "/etc/passwd")).code == "bad_request");
  CHECK(refused(TestRelease("1.0").file("code/su", "x", 04755)).message.find("'code/su' is setuid: the unit does not say allow_setuid") !=
        std::string::npos);
  CHECK(refused(TestRelease("1.0").file("code/a", "x").file("code/A", "y")).code == "bad_request");
  CHECK(refused(TestRelease("1.0").link("code/dir", "bin").file("code/dir/x", "y")).code == "bad_request");
  CHECK_FALSE(refused(TestRelease("../1.0").file("code/a", "x")).code.empty());
  auto other = TestRelease("1.0").file("code/a", "x");
  other.manifest.spec.root = "/opt";
  CHECK(refusal([&] {
          std::optional<OpenOffer> open;
          auto offer = h.offer(other);
          offer.unit.root = "/srv";
          stage_offer(h.host, offer, open);
        }).message == "the manifest is of unit 'storefront' in '/opt', the request is for unit 'storefront' in '/srv'");
  auto setuid = TestRelease("1.0").file("code/su", "x", 04755);
  setuid.manifest.spec.allow_setuid = true;
  auto reply = h.stage(setuid);
  CHECK(mode_of(h.unit().release(reply.release.folder()) + "/su") == 04755);
}

TEST_CASE("links planted in the staging folder lead nowhere", "[stage]") {
  TestHost h;
  TempDir outside;
  auto r = sample();
  std::optional<OpenOffer> open;
  auto reply = stage_offer(h.host, h.offer(r), open);
  auto pack = r.pack(reply.lacking);
  bool planted = false, sent = false;
  auto next = [&]() -> std::optional<std::string> {
    if (!planted) {  // by now the folders are there, and no file is
      auto staging = h.unit().releases + "/" + names_in(h.unit().releases).at(0);
      REQUIRE(::rmdir((staging + "/readonly").c_str()) == 0);
      REQUIRE(::symlink(outside.path().c_str(), (staging + "/readonly").c_str()) == 0);
      planted = true;
    }
    if (sent) return std::nullopt;
    sent = true;
    return pack;
  };
  auto refused = refusal([&] { stage_pack(h.host, *open, next); });
  CHECK(refused.code == "bad_path");
  CHECK(names_in(outside.path()).empty());
  CHECK(names_in(h.unit().releases).empty());
}

TEST_CASE("signatures are compulsory where a trust file is", "[stage]") {
  TestHost h;
  h.dir.write("etc/ripcord/allowed_signers", "ops@example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIDzHJ7bmpcMcn8xR1R4T3hGQ2tPzXUoJcQd6Ki8r2tT\n");
  auto r = refusal([&] { h.stage(sample()); });
  CHECK(r.code == "untrusted");
  CHECK(r.message == "the release's seal is not trusted by '" + (h.dir / "etc/ripcord/allowed_signers") + "' on this host: it is not signed");
  std::optional<OpenOffer> open;
  auto offer = h.offer(sample());
  offer.signature = "-----BEGIN SSH SIGNATURE-----\nnonsense\n-----END SSH SIGNATURE-----\n";
  CHECK(refusal([&] { stage_offer(h.host, offer, open); }).code == "untrusted");
  CHECK_FALSE(exists(h.unit().unit_root));
}

TEST_CASE("an owner nobody knows is refused before anything is written", "[stage]") {
  if (::geteuid() != 0) {
    WARN("needs root: owners are set by root only");
    return;
  }
  TestHost h;
  auto r = sample();
  r.manifest.spec.owner = "no-such-user-here";
  CHECK(refusal([&] { h.stage(r); }).code == "no_user");
  CHECK_FALSE(exists(h.unit().unit_root));
  r.manifest.spec.owner = "daemon";
  auto reply = h.stage(r);
  struct stat st {};
  for (const char* path : {"", "/bin", "/bin/server", "/bin/alias", "/config/app.conf"}) {
    REQUIRE(::lstat((h.unit().release(reply.release.folder()) + path).c_str(), &st) == 0);
    CHECK(st.st_uid != 0);
  }
  ::stat((h.unit().shared + "/data/uploads").c_str(), &st);
  CHECK(st.st_uid != 0);
  CHECK(verify_release(h.unit(), require_release(h.unit(), reply.release), Verify::full).clean());
}
