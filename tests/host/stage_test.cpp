#include <sys/stat.h>

#include "manifests/host/stage.hpp"
#include "manifests/host/lock.hpp"
#include "manifests/host/release_folder.hpp"
#include "manifests/host/staging_folder.hpp"
#include "manifests/shared/tree.hpp"
#include "tests/host/stage_fixture.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

Tree expected_tree(const TestHost& h, const TestRelease& r) {
  return make_tree(r.manifest, r.digest(), h.host.facts(h.labels), [&](const Digest& d) { return r.objects.at(d); });
}

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

TEST_CASE("a unit stays where it is", "[stage]") {
  TestHost h;
  h.stage(sample("1.0"));
  auto moved = sample("1.1");
  moved.manifest.spec.root = "/opt";
  auto r = refusal([&] { h.stage(moved); });
  CHECK(r.code == "conflict");
  CHECK(r.message == "unit 'storefront' lives in '/srv' on this host, the release wants it in '/opt'");
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
