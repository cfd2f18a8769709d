// What a scan need not read again: what it noted, and what takes that away.
#include "manifests/host/untouched.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "manifests/host/metadata.hpp"
#include "tests/host/scan_fixture.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;
using namespace ripcord::test;

TEST_CASE("an incremental scan reads nothing twice: what a full one read is noted, outside the unit", "[scan]") {
  ScanHost h;
  put(h.at("lib/a"), "aaaa1.1");  // the same bytes at another time
  auto first = h.look();
  CHECK(first.findings.empty());
  CHECK(first.hashed == 2);  // that one, and the placed file, which is always read
  CHECK(h.look().hashed == 1);
  CHECK(h.look(true).hashed > 8);
  // Read-only sessions note nothing.
  put(h.at("lib/a"), "aaaa1.1");
  h.host.read_only = true;
  auto state = files_state(h.host.layout.state);
  CHECK(h.look().hashed == 2);
  CHECK(h.look().hashed == 2);
  CHECK(files_state(h.host.layout.state) == state);
  // A change within the clock tick of the last hash could hide behind it, so what is fresh is not noted.
  h.host.read_only = false;
  h.host.wall = wall_now;
  put(h.at("lib/a"), "aaaa1.1");
  CHECK(h.look().hashed == 2);
  CHECK(h.look().hashed == 2);
}

TEST_CASE("a file that a full scan found wrong is read by every later scan, whatever its times say", "[scan]") {
  ScanHost h;
  put(h.at("lib/b"), "bbbc");
  auto stored = require_release(h.unit(), h.second);
  auto file = h.unit().metadata_of(h.second.folder()) + "/stat";
  auto cache = decode_stat_file(text_of(file), h.second.tree, stored.tree.entries.size());
  for (std::size_t i = 0; i < cache.size(); ++i) {  // as if the disk had changed it: no time moved
    struct stat st {};
    ::lstat(h.at(stored.tree.entries[i].path).c_str(), &st);
    if (stored.tree.entries[i].path == "lib/b") cache[i] = StatEntry::of(st);
  }
  put(file, encode_stat_file(cache, h.second.tree));
  CHECK(h.found(false).empty());
  CHECK(h.found(true) == "changed lib/b");
  CHECK(h.found(false) == "changed lib/b");
}

TEST_CASE("what was right is recognised without reading or listing it again, and what moved since is not", "[scan]") {
  ScanHost h;
  auto is_untouched = [&] { return untouched(h.unit(), h.second).has_value(); };
  auto entries = require_release(h.unit(), h.second).tree.entries.size();
  CHECK(untouched(h.unit(), h.second) == entries);  // as it was staged
  CHECK(untouched(h.unit(), h.first).has_value());
  SECTION("a file") {
    put(h.at("lib/a"), "aaaa1.1");  // the same bytes
    CHECK_FALSE(is_untouched());
    CHECK(h.found().empty());
    CHECK(is_untouched());
  }
  SECTION("a folder in which something came and went") {
    put(h.at("lib/passing"), "");
    CHECK_FALSE(is_untouched());
    ::unlink(h.at("lib/passing").c_str());
    CHECK_FALSE(is_untouched());
    CHECK(h.found().empty());
    CHECK(is_untouched());
  }
  SECTION("the release's own folder, which is always listed") {
    put(h.at("new"), "");
    CHECK_FALSE(is_untouched());
    CHECK(h.found() == "extra new");
    ::unlink(h.at("new").c_str());
    CHECK(is_untouched());
    ::chmod(h.at("").c_str(), 0777);
    CHECK_FALSE(is_untouched());
    CHECK(h.found() == "mode .");
  }
  SECTION("a mode that is wrong stays wrong, however well its bytes are known") {
    ::chmod(h.at("lib/a").c_str(), 0666);
    CHECK(h.found() == "mode lib/a");
    CHECK(h.found() == "mode lib/a");
    ::chmod(h.at("lib").c_str(), 0777);
    CHECK(h.found() == "mode lib\nmode lib/a");
    CHECK(h.found() == "mode lib\nmode lib/a");
  }
  SECTION("a link, a type") {
    ::unlink(h.at("lib/link").c_str());
    CHECK(::symlink("b", h.at("lib/link").c_str()) == 0);
    h.look();  // notes what lib is now
    CHECK_FALSE(is_untouched());
    CHECK(h.found() == "link lib/link");
    ::unlink(h.at("lib/link").c_str());
    ::mkdir(h.at("lib/link").c_str(), 0755);
    CHECK(h.found() == "type lib/link");
  }
  SECTION("notes that are damaged, of another tree, or gone") {
    auto notes = h.unit().metadata_of(h.second.folder()) + "/stat";
    auto good = text_of(notes);
    put(notes, "nonsense");
    CHECK_FALSE(is_untouched());
    put(notes, text_of(h.unit().metadata_of(h.first.folder()) + "/stat"));
    CHECK_FALSE(is_untouched());
    put(notes, good.substr(0, good.size() - 1));
    CHECK_FALSE(is_untouched());
    ::unlink(notes.c_str());
    CHECK_FALSE(is_untouched());
    CHECK(h.found().empty());
    CHECK(is_untouched());
  }
}

TEST_CASE("a folder in which a full scan found something extra is listed by every later scan, whatever its times say", "[scan]") {
  ScanHost h;
  put(h.at("lib/hidden"), "");
  auto stored = require_release(h.unit(), h.second);
  auto notes = h.unit().metadata_of(h.second.folder()) + "/stat";
  auto cache = decode_stat_file(text_of(notes), h.second.tree, stored.tree.entries.size());
  for (std::size_t i = 0; i < cache.size(); ++i) {  // as if it had come within the clock tick in which the folder was noted
    struct stat st {};
    ::lstat(h.at("lib").c_str(), &st);
    if (stored.tree.entries[i].path == "lib") cache[i] = StatEntry::of(st);
  }
  put(notes, encode_stat_file(cache, h.second.tree));
  CHECK(h.found(false).empty());
  CHECK(h.found(true) == "extra lib/hidden");
  CHECK(h.found(false) == "extra lib/hidden");
  ::unlink(h.at("lib/hidden").c_str());
  CHECK(h.found(false).empty());
  CHECK(untouched(h.unit(), h.second).has_value());
}
