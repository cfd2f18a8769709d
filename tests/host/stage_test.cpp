#include "manifests/host/stage.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "manifests/host/lock.hpp"
#include "manifests/host/release_folder.hpp"
#include "manifests/host/release_writer.hpp"
#include "manifests/host/staging_folder.hpp"
#include "manifests/shared/tree.hpp"
#include "tests/host/test_host.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

TestRelease sample(const std::string& version = "1.0") {
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

Tree expected_tree(const TestHost& h, const TestRelease& r) {
  return make_tree(r.manifest, r.digest(), h.host.facts(h.labels), [&](const Digest& d) { return r.objects.at(d); });
}

// A file system of its own for one test. Empty when this place may not mount one.
class SmallDisk {
 public:
  SmallDisk(const std::string& at, const std::string& options) : at_(at) {
    mounted_ = ::mount("none", at_.c_str(), "tmpfs", 0, options.c_str()) == 0;
    if (!mounted_) WARN("cannot mount a tmpfs (" << errno << "): this test needs root; not tested here");
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(at_.c_str(), MNT_DETACH);
  }
  explicit operator bool() const { return mounted_; }

 private:
  std::string at_;
  bool mounted_;
};

}  // namespace

TEST_CASE("a release is staged exactly as its tree says", "[stage]") {
  TestHost h;
  auto r = sample();
  auto tree = expected_tree(h, r);
  auto offer = h.offered(r);
  CHECK_FALSE(offer.complete);
  CHECK(offer.files == 7);
  CHECK(offer.release.tree.is_zero());  // not to be known before the template has come
  CHECK(offer.lacking.size() == 6);     // server, README (once), empty, data, template, ams/dc.conf; not fra/dc.conf
  CHECK_FALSE(exists(h.unit().state));  // an offer writes nothing
  CHECK_FALSE(exists(h.unit().unit_root));

  auto reply = h.stage(r);
  CHECK(reply.complete);
  CHECK(reply.release == ReleaseId{"1.0", r.digest(), tree.digest});
  auto folder = h.unit().release(reply.release.folder());
  CHECK(names_in(h.unit().releases) == std::vector<std::string>{reply.release.folder()});
  CHECK(text_of(folder + "/bin/server") == std::string(300000, 'x') + "1.0");
  CHECK(text_of(folder + "/COPY") == "same in every version\n");
  CHECK(text_of(folder + "/config/app.conf") == "listen 127.0.0.1\nhost web-01\nversion 1.0\n");
  CHECK(text_of(folder + "/config/dc.conf") == "ams\n");
  CHECK(read_link(folder + "/bin/alias") == "server");
  CHECK(mode_of(folder) == 0755);
  CHECK(mode_of(folder + "/bin") == 0755);
  CHECK(mode_of(folder + "/bin/server") == 0755);
  CHECK(mode_of(folder + "/README") == 0644);
  CHECK(mode_of(folder + "/COPY") == 0600);
  CHECK(mode_of(folder + "/readonly") == 0555);
  CHECK(mode_of(folder + "/readonly/data") == 0444);
  CHECK(read_link(folder + "/data/uploads") == "../../../shared/data/uploads");
  CHECK(mode_of(h.unit().shared + "/data/uploads") == 0755);
  struct stat a {}, b {};
  ::stat((folder + "/README").c_str(), &a);
  ::stat((folder + "/COPY").c_str(), &b);
  CHECK(a.st_ino != b.st_ino);  // never hard links

  CHECK(h.kinds() == std::vector<std::string>{"CREATED", "LABELS", "STAGED"});
  CHECK(h.history().staged == std::vector<ReleaseId>{reply.release});
  CHECK(h.history().labels == h.labels);
  auto stored = require_release(h.unit(), reply.release);
  CHECK(stored.tree.encode() == tree.encode());
  CHECK(verify_release(h.unit(), stored, Verify::full).clean());
  CHECK(verify_release(h.unit(), stored, Verify::quick).hashed == 0);
  CHECK(load_manifest(h.unit(), reply.release.folder()).encode() == r.bytes());
  CHECK(mode_of(h.unit().metadata_of(reply.release.folder())) == 0700);

  auto again = h.offered(r);
  CHECK(again.complete);
  CHECK(again.lacking.empty());
  CHECK(again.release == reply.release);
  CHECK(h.kinds().size() == 3);
}

TEST_CASE("what the host has is copied, and only the rest is asked for", "[stage]") {
  TestHost h;
  h.stage(sample("1.0"));
  auto next = sample("1.1");
  auto offer = h.offered(next);
  REQUIRE(offer.lacking.size() == 1);
  CHECK(offer.lacking[0] == sha256(std::string(300000, 'x') + "1.1"));
  CHECK(offer.release.tree == expected_tree(h, next).digest);  // the template is here already
  auto reply = h.stage(next);
  CHECK(verify_release(h.unit(), require_release(h.unit(), reply.release), Verify::full).clean());
  CHECK(names_in(h.unit().releases).size() == 2);

  auto moved = h.labels["datacenter"] = "fra";
  auto other = h.offered(next);
  CHECK(other.lacking == std::vector<Digest>{sha256("fra\n")});
  CHECK(other.release.tree != reply.release.tree);
}

TEST_CASE("an object that went bad on the host is asked for again", "[stage]") {
  TestHost h;
  auto first = h.stage(sample("1.0"));
  auto readme = h.unit().release(first.release.folder()) + "/README", copy = h.unit().release(first.release.folder()) + "/COPY";
  SECTION("changed so that its stat shows it") {
    put(readme, "same in every versioN\n");
    auto offer = h.offered(sample("1.1"));
    CHECK(offer.lacking.size() == 1);  // COPY still has those bytes
    put(copy, "same in every versioN\n");
    CHECK(h.offered(sample("1.1")).lacking.size() == 2);
    CHECK(h.stage(sample("1.1")).complete);
  }
  SECTION("changed behind the stat cache's back") {
    auto stored = require_release(h.unit(), first.release);
    for (const auto& path : {readme, copy}) put(path, "same in every versioN\n");
    StatCache cache;
    for (const auto& e : stored.tree.entries) {
      struct stat st {};
      ::lstat((h.unit().release(first.release.folder()) + "/" + e.path).c_str(), &st);
      cache.push_back(e.kind == SourceEntry::Kind::file ? StatEntry::of(st) : StatEntry{});
    }
    put(h.unit().metadata_of(first.release.folder()) + "/stat", encode_stat_file(cache, first.release.tree));
    REQUIRE(h.offered(sample("1.1")).lacking.size() == 1);  // deceived
    CHECK(refusal([&] { h.stage(sample("1.1")); }).code == "missing_objects");
    CHECK(h.offered(sample("1.1")).lacking.size() == 2);    // and no longer
    CHECK(h.stage(sample("1.1")).complete);
    CHECK_FALSE(verify_release(h.unit(), require_release(h.unit(), first.release), Verify::quick).clean());
  }
}

TEST_CASE("a damaged release is replaced, and what it was is kept", "[stage]") {
  TestHost h;
  auto r = sample();
  auto first = h.stage(r);
  auto folder = h.unit().release(first.release.folder());
  h.point_current(first.release);
  put(folder + "/config/dc.conf", "edited by hand\n");
  CHECK_FALSE(h.offered(r).complete);
  CHECK(h.offered(r).lacking == std::vector<Digest>{sha256("ams\n")});
  SECTION("by a controller") { CHECK(h.stage(r).complete); }
  SECTION("from another release") {
    h.stage(sample("1.1"));
    UnitLock lock(h.host, h.unit(), "test");
    CHECK(heal_release(h.host, h.unit(), lock, first.release));
  }
  CHECK(text_of(folder + "/config/dc.conf") == "ams\n");
  CHECK(verify_release(h.unit(), require_release(h.unit(), first.release), Verify::full).clean());
  CHECK(text_of(h.unit().current + "/config/dc.conf") == "ams\n");
  auto names = names_in(h.unit().releases);
  REQUIRE(names[0].compare(0, 9, ".damaged-") == 0);
  CHECK(text_of(h.unit().releases + "/" + names[0] + "/config/dc.conf") == "edited by hand\n");
}

TEST_CASE("a damaged release that cannot be made whole is left alone", "[stage]") {
  TestHost h;
  auto first = h.stage(sample());
  put(h.unit().release(first.release.folder()) + "/bin/server", "x");
  UnitLock lock(h.host, h.unit(), "test");
  CHECK_FALSE(heal_release(h.host, h.unit(), lock, first.release));
  CHECK(names_in(h.unit().releases) == std::vector<std::string>{first.release.folder()});
  CHECK(text_of(h.unit().release(first.release.folder()) + "/bin/server") == "x");
}

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

TEST_CASE("a unit stays where it is", "[stage]") {
  TestHost h;
  h.stage(sample("1.0"));
  auto moved = sample("1.1");
  moved.manifest.spec.root = "/opt";
  auto r = refusal([&] { h.stage(moved); });
  CHECK(r.code == "conflict");
  CHECK(r.message == "unit 'storefront' lives in '/srv' on this host, the release wants it in '/opt'");
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

TEST_CASE("left-over staging folders of dead sessions go, those of live ones stay", "[stage]") {
  TestHost h;
  h.stage(sample("1.0"));
  h.dir.write("srv/storefront/releases/.staging-1.1-dead/bin/x", "x");
  h.dir.write("var/lib/ripcord/units/storefront/releases/.staging-1.1-dead/id", "x");
  {
    StagingFolder live(h.unit(), "9.9");
    h.stage(sample("1.1"));
    auto names = names_in(h.unit().releases);
    REQUIRE(names.size() == 3);
    CHECK(names[0].compare(0, 12, ".staging-9.9") == 0);
  }
  h.stage(sample("1.2"));
  CHECK(names_in(h.unit().releases).size() == 3);
  CHECK(names_in(h.unit().metadata()).size() == 3);
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

TEST_CASE("a full disk is noticed before anything is written", "[stage]") {
  TestHost h;
  h.dir.mkdir("srv");
  auto r = sample();
  SECTION("bytes") {
    SmallDisk disk(h.dir / "srv", "size=200k");
    if (!disk) return;
    auto refused = refusal([&] { h.stage(r); });
    CHECK(refused.code == "no_space");
    CHECK(refused.message == "unit 'storefront' needs 392.0 KiB in '" + (h.dir / "srv") + "' and 200.0 KiB are free");
    CHECK(names_in(h.dir / "srv").empty());
  }
  SECTION("inodes") {
    SmallDisk disk(h.dir / "srv", "size=4m,nr_inodes=12");
    if (!disk) return;
    auto refused = refusal([&] { h.stage(r); });
    CHECK(refused.code == "no_space");
    CHECK(refused.message.find("inodes in '") != std::string::npos);
    CHECK(names_in(h.dir / "srv").empty());
  }
}

TEST_CASE("a disk that fills up while a release is written is left as it was", "[stage]") {
  TestHost h;
  h.dir.mkdir("srv");
  auto r = sample();
  SmallDisk disk(h.dir / "srv", "size=600k");
  if (!disk) return;
  std::optional<OpenOffer> open;
  auto reply = stage_offer(h.host, h.offer(r), open);
  auto pack = r.pack(reply.lacking);
  int part = 0;
  auto next = [&]() -> std::optional<std::string> {
    if (++part > 1) return std::nullopt;
    put(h.dir / "srv/hog", std::string(400000, 'h'));  // somebody else is faster
    return pack;
  };
  auto refused = refusal([&] { stage_pack(h.host, *open, next); });
  CHECK(refused.code == "no_space");
  CHECK(refused.message.find("No space left on device (ENOSPC)") != std::string::npos);
  CHECK(names_in(h.unit().releases).empty());
  CHECK(h.kinds().empty());
}

TEST_CASE("a read-only file system has a name of its own", "[stage]") {
  TestHost h;
  h.dir.mkdir("srv");
  SmallDisk disk(h.dir / "srv", "size=4m,ro");
  if (!disk) return;
  auto refused = refusal([&] { h.stage(sample()); });
  CHECK(refused.code == "read_only");
  CHECK(refused.message.find("Read-only file system (EROFS)") != std::string::npos);
}
