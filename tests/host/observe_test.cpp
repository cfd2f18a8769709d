#include "manifests/host/observe.hpp"

#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <chrono>

#include "manifests/host/lock.hpp"
#include "manifests/host/release_folder.hpp"
#include "tests/host/test_host.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

TestRelease sample(const std::string& version = "1.0") {
  TestRelease r(version);
  r.file("code/bin/server", "server " + version, 0755);
  r.file("code/lib/a", "aaaa");
  r.file("code/lib/b", "bbbb");
  r.link("code/lib/link", "a");
  return r;
}

std::string kinds_and_paths(const Observation& o) {
  std::vector<std::string> lines;
  for (const auto& f : o.findings) lines.push_back(f.kind + " " + f.path + (f.detail.empty() ? "" : ": " + f.detail));
  std::sort(lines.begin(), lines.end());
  std::string out;
  for (const auto& line : lines) out += line + "\n";
  return out;
}

}  // namespace

TEST_CASE("a host that knows nothing is observed without a trace", "[observe]") {
  TestHost h;
  auto o = observe(h.host, h.ref(), Verify::full, false);
  CHECK(o.current == Observation::Current::none);
  CHECK_FALSE(o.running);
  CHECK_FALSE(o.last_op);
  CHECK(o.releases.empty());
  CHECK(o.journal_seq == 0);
  CHECK(o.journal_hash.empty());
  CHECK(o.tree_state == "unverified");
  CHECK(o.free_bytes > 0);
  CHECK(names_in(h.dir.path()).empty());
  auto hello = ripcord::hello(h.host, "weak");
  CHECK(hello.host_id.empty());
  CHECK(hello.trust == "none");
  CHECK(hello.arch == h.host.arch);
}

TEST_CASE("observation tells what current is, and writes nothing", "[observe]") {
  TestHost h;
  auto first = h.stage(sample("1.0")), second = h.stage(sample("1.1"));
  auto look = [&](Verify how = Verify::quick) { return observe(h.host, h.ref(), how, false); };
  CHECK(look().current == Observation::Current::none);
  CHECK(look().releases == std::vector<ReleaseId>{first.release, second.release});
  h.point_current(first.release);
  auto before = files_state(h.dir.path());
  auto o = look();
  CHECK(o.current == Observation::Current::release);
  CHECK(o.running == first.release);
  CHECK(o.link_target == "releases/" + first.release.folder());
  CHECK(o.tree_state == "verified");
  CHECK(look(Verify::full).tree_state == "verified");
  CHECK(look(Verify::none).tree_state == "unverified");
  CHECK(o.journal_seq == 4);
  CHECK(o.journal_hash == Journal(h.unit()).head_hash());
  CHECK(files_state(h.dir.path()) == before);
  CHECK(journal_lines(h.host, h.ref(), 2).size() == 2);
  CHECK(journal_lines(h.host, h.ref(), 2).at(0) == Journal(h.unit()).records().at(2).line);

  ::unlink(h.unit().current.c_str());
  h.dir.link("srv/storefront/current", "/nowhere");
  CHECK(look().current == Observation::Current::broken);
  ::unlink(h.unit().current.c_str());
  h.dir.link("srv/storefront/current", "releases/" + first.release.folder() + "/bin");
  CHECK(look().current == Observation::Current::foreign_link);
  CHECK_FALSE(look().running);
  ::unlink(h.unit().current.c_str());
  h.dir.mkdir("srv/storefront/current");
  CHECK(look().current == Observation::Current::folder);
}

TEST_CASE("every way in which a tree can differ is found by name", "[observe]") {
  TestHost h;
  auto reply = h.stage(sample());
  h.point_current(reply.release);
  auto at = [&](const std::string& path) { return h.unit().release(reply.release.folder()) + "/" + path; };
  auto how = GENERATE(Verify::quick, Verify::full);
  auto found = [&] { return kinds_and_paths(observe(h.host, h.ref(), how, false)); };
  CHECK(found().empty());
  SECTION("content, same length") {
    put(at("lib/a"), "aaab");
    CHECK(found() == "changed lib/a: expected sha256 " + sha256("aaaa").short_hex() + ", found " + sha256("aaab").short_hex() + "\n");
  }
  SECTION("content, other length") {
    put(at("lib/a"), "aaaaa");
    CHECK(found() == "changed lib/a: expected 4 bytes, found 5\n");
  }
  SECTION("touched, not changed") {
    put(at("lib/a"), "aaaa");
    CHECK(found().empty());
  }
  SECTION("mode") {
    ::chmod(at("bin/server").c_str(), 0777);
    ::chmod(at("lib").c_str(), 0700);
    CHECK(found() == "mode bin/server: expected 0755, found 0777\nmode lib: expected 0755, found 0700\n");
  }
  SECTION("missing and extra") {
    ::rename(at("lib/b").c_str(), at("lib/c").c_str());
    h.dir.write("srv/storefront/releases/" + reply.release.folder() + "/more/inside", "x");
    CHECK(found() == "extra lib/c\nextra more\nmissing lib/b\n");
  }
  SECTION("link and type") {
    ::unlink(at("lib/link").c_str());
    CHECK(::symlink("b", at("lib/link").c_str()) == 0);
    ::unlink(at("lib/a").c_str());
    CHECK(::symlink("b", at("lib/a").c_str()) == 0);
    CHECK(found() == "link lib/link: expected -> a, found -> b\ntype lib/a: expected a file, found a link\n");
  }
  SECTION("a whole folder gone") {
    ::unlink(at("bin/server").c_str());
    ::rmdir(at("bin").c_str());
    CHECK(found() == "missing bin\nmissing bin/server\n");
  }
  SECTION("owner") {
    if (::geteuid() != 0) return;
    CHECK(::chown(at("lib/b").c_str(), 7, 8) == 0);
    CHECK(found() == "owner lib/b: expected 0:0, found 7:8\n");
  }
  SECTION("the record of the tree") {
    auto tree = h.unit().metadata_of(reply.release.folder()) + "/tree";
    put(tree, text_of(tree) + "d 0755 more\n");
    auto o = observe(h.host, h.ref(), how, false);
    CHECK(o.tree_state == "damaged");
    CHECK(kinds_and_paths(o).find("its tree is not the one that its digest names") != std::string::npos);
  }
}

TEST_CASE("a full look does not trust the stat cache", "[observe]") {
  TestHost h;
  auto reply = h.stage(sample());
  h.point_current(reply.release);
  auto path = h.unit().release(reply.release.folder()) + "/lib/a";
  put(path, "aaab");
  auto stored = require_release(h.unit(), reply.release);
  auto file = h.unit().metadata_of(reply.release.folder()) + "/stat";
  auto cache = decode_stat_file(text_of(file), reply.release.tree, stored.tree.entries.size());
  for (std::size_t i = 0; i < cache.size(); ++i) {
    struct stat st {};
    ::lstat((h.unit().release(reply.release.folder()) + "/" + stored.tree.entries[i].path).c_str(), &st);
    if (stored.tree.entries[i].path == "lib/a") cache[i] = StatEntry::of(st);
  }
  put(file, encode_stat_file(cache, reply.release.tree));
  CHECK(observe(h.host, h.ref(), Verify::quick, false).tree_state == "verified");
  CHECK(observe(h.host, h.ref(), Verify::full, false).tree_state == "damaged");
  put(file, "damaged");  // then nothing is known, and everything is hashed
  CHECK(observe(h.host, h.ref(), Verify::quick, false).tree_state == "damaged");
}

TEST_CASE("many findings are counted, not listed", "[observe]") {
  TestHost h;
  TestRelease r("1.0");
  for (int i = 0; i < 80; ++i) r.file("code/f" + std::to_string(i), std::to_string(i));
  auto reply = h.stage(r);
  h.point_current(reply.release);
  for (int i = 0; i < 80; ++i) ::unlink((h.unit().release(reply.release.folder()) + "/f" + std::to_string(i)).c_str());
  auto o = observe(h.host, h.ref(), Verify::quick, false);
  CHECK(o.findings.size() == kMaxFindings);
  CHECK(o.findings.back().detail == " (and 30 more findings)");
}

TEST_CASE("a damaged journal is told, not looked past", "[observe]") {
  TestHost h;
  h.stage(sample());
  auto text = text_of(h.unit().journal());
  text[20] ^= 1;
  put(h.unit().journal(), text);
  CHECK(refusal([&] { observe(h.host, h.ref(), Verify::none, false); }).code == "journal_damaged");
}
