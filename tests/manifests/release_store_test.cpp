#include "manifests/release_store.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <set>
#include <thread>

#include "core/base/error.hpp"
#include "core/base/files.hpp"
#include "manifests/source_tree.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"

using namespace ripcord;
using test::TempDir;

namespace {

std::string unsigned_release(const std::string&) { return ""; }

void write_unit(const TempDir& dir, const std::string& version = "1.0", const std::string& more = "") {
  dir.write("unit/unit.yaml", "unit: storefront\nversion: \"" + version + "\"\nhosts: role=web\ncode: code\nconfig: config\n" + more);
  dir.write("unit/code/bin/server", "program", 0755);
  if (!exists(dir / "unit/code/latest")) dir.link("unit/code/latest", "bin/server");
  dir.write("unit/config/common/app.conf.tmpl", "port ${port}\n");
}

std::string refusal(const TempDir& dir, Exit exit = Exit::invalid_file) {
  try {
    ReleaseStore(dir / "store").seal(dir / "unit", unsigned_release);
  } catch (const Error& e) {
    CHECK(e.exit() == exit);
    CHECK(std::filesystem::is_empty(dir / "store/objects"));
    return e.what();
  }
  return "it was sealed";
}

std::set<std::string> files_below(const std::string& folder) {
  std::set<std::string> names;
  for (const auto& e : std::filesystem::recursive_directory_iterator(folder))
    if (!e.is_directory()) names.insert(e.path().string().substr(folder.size() + 1));
  return names;
}

}  // namespace

TEST_CASE("store: a unit's folder becomes a release, the same bytes each time") {
  TempDir dir;
  write_unit(dir);
  dir.write("unit/.git/config", "not ours");
  dir.write("unit/README", "read me");
  dir.mkdir("unit/code/empty");
  ReleaseStore store(dir / "store");
  std::string signed_bytes;
  auto sealed = store.seal(dir / "unit", [&](const std::string& bytes) { return signed_bytes = bytes, std::string("SIGNATURE"); });
  CHECK_FALSE(sealed.already);
  CHECK(sealed.files == 4);
  CHECK(sealed.new_objects == 4);
  CHECK(sealed.bytes == 7 + 13 + 7 + read_file(dir / "unit/unit.yaml").size());
  std::string paths;
  for (const auto& e : sealed.manifest.entries) paths += e.path + " " + std::to_string(e.mode) + "\n";
  CHECK(paths ==
        "README 420\ncode 493\ncode/bin 493\ncode/bin/server 493\ncode/empty 493\ncode/latest 511\nconfig 493\nconfig/common 493\n"
        "config/common/app.conf.tmpl 420\nunit.yaml 420\n");
  CHECK(sha256(signed_bytes) == sealed.digest);
  CHECK(store.find("storefront", "1.0") == sealed.digest);
  CHECK(store.sealed(sealed.digest).bytes == signed_bytes);
  CHECK(store.sealed(sealed.digest).signature == "SIGNATURE");
  CHECK(store.object(sha256("program")) == "program");
  CHECK(files_below(dir / "store/tmp").empty());

  TempDir copy;
  std::filesystem::copy(dir / "unit", copy / "unit", std::filesystem::copy_options::recursive | std::filesystem::copy_options::copy_symlinks);
  auto again = store.seal(copy / "unit", unsigned_release);
  CHECK(again.already);
  CHECK(again.digest == sealed.digest);
  CHECK(again.new_objects == 0);
  CHECK(store.sealed(sealed.digest).signature == "SIGNATURE");  // not lost by sealing without a key
  CHECK(store.units() == std::vector<std::string>{"storefront"});
  CHECK_FALSE(store.find("storefront", "9"));
  CHECK_FALSE(store.find("../x", "1.0"));
}

TEST_CASE("store: one version names one release for ever") {
  TempDir dir;
  write_unit(dir);
  ReleaseStore store(dir / "store");
  auto first = store.seal(dir / "unit", unsigned_release).digest;
  for (int i = 0; i < 6; ++i) dir.write("unit/code/new" + std::to_string(i), "x");
  dir.write("unit/code/bin/server", "program 2", 0755);
  bool asked = false;
  try {
    store.seal(dir / "unit", [&](const std::string&) { return asked = true, std::string(); });
    FAIL("sealed twice");
  } catch (const Error& e) {
    CHECK(e.exit() == Exit::refused);
    CHECK(std::string(e.what()) ==
          "'storefront@1.0' is sealed already with other content: code/bin/server (changed), code/new0 (new), code/new1 (new), code/new2 (new), "
          "code/new3 (new) and 2 more");
    CHECK(e.hint() == "raise version: in " + (dir / "unit") + "/unit.yaml:2; a version names one release for ever");
  }
  CHECK_FALSE(asked);
  CHECK(store.find("storefront", "1.0") == first);
  CHECK_FALSE(store.has_object(sha256("program 2")));

  for (int i = 0; i < 6; ++i) std::filesystem::remove(dir / ("unit/code/new" + std::to_string(i)));
  dir.write("unit/code/bin/server", "program", 0750);
  CHECK_THROWS_WITH(store.seal(dir / "unit", unsigned_release), "'storefront@1.0' is sealed already with other content: code/bin/server (mode changed)");
  write_unit(dir, "0.9");
  auto second = store.seal(dir / "unit", unsigned_release).digest;
  CHECK(store.versions("storefront") == std::vector<std::pair<std::string, Digest>>{{"1.0", first}, {"0.9", second}});
  CHECK_THROWS_WITH(store.add_sealed({Manifest::decode(store.sealed(second).bytes).encode() + "x", ""}),
                    Catch::Contains("the manifest cannot be used: it is not valid JSON"));
  auto other = Manifest::decode(store.sealed(second).bytes);
  other.entries.pop_back();
  CHECK_THROWS_WITH(store.add_sealed({other.encode(), ""}), Catch::Contains("a version names one release for ever"));
}

TEST_CASE("store: of two who register at once, one hears of the other") {
  TempDir dir;
  std::vector<std::string> manifests;
  Manifest m;
  m.spec.unit = "u";
  m.spec.version = "1";
  m.spec.hosts = "all";
  for (int i = 0; i < 2; ++i) m.spec.owner = "user" + std::to_string(i), manifests.push_back(m.encode());
  for (int round = 0; round < 20; ++round) {
    std::string folder = dir / ("store" + std::to_string(round));
    int refused = 0, registered = 0;
    std::mutex lock;
    std::vector<std::thread> threads;
    for (const auto& bytes : manifests)
      threads.emplace_back([&, bytes] {
        bool fine = true;
        try {
          ReleaseStore(folder).add_sealed({bytes, ""});
        } catch (const Error&) {
          fine = false;
        }
        std::lock_guard held(lock);
        ++(fine ? registered : refused);
      });
    for (auto& t : threads) t.join();
    CHECK(registered == 1);
    CHECK(refused == 1);
  }
}

TEST_CASE("store: everything that cannot be sealed is named at once, nothing is stored") {
  TempDir dir;
  write_unit(dir);
  dir.mkdir("store/objects");
  dir.write("unit/code/new\nline", "x");
  dir.write("unit/code/bad\xff", "x");
  dir.write("unit/code/su", "x", 04755);
  dir.write("unit/code/Bin2", "x");
  dir.write("unit/code/bin2", "x");
  dir.link("unit/code/absolute", "/etc/passwd");
  dir.link("unit/code/out", "../../x");
  dir.write("unit/code/" + std::string(255, 'l'), "fine");
  dir.write("unit/code/grüße.txt", "fine");
  REQUIRE(::mkfifo((dir / "unit/code/fifo").c_str(), 0644) == 0);
  int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  auto socket_path = dir / "unit/code/socket";
  REQUIRE(socket_path.size() < sizeof address.sun_path);
  socket_path.copy(address.sun_path, socket_path.size());
  REQUIRE(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  ::close(fd);
  bool device = ::mknod((dir / "unit/code/device").c_str(), S_IFCHR | 0600, makedev(1, 3)) == 0;  // root only
  auto text = refusal(dir);
  std::set<std::string> lines;
  for (const auto& line : split(text, '\n')) lines.insert(line);
  std::set<std::string> expected{
      "'" + (dir / "unit") + "' cannot be sealed:",
      "  path 'code/new\\nline': it has a control character",
      "  path 'code/bad\\xff': it is not UTF-8",
      "  'code/su' is setuid: the unit does not say allow_setuid",
      "  'code/Bin2' and 'code/bin2' differ only by case or normal form: the unit does not say allow_twins",
      "  symlink 'code/absolute' -> '/etc/passwd': its target is absolute",
      "  symlink 'code/out' -> '../../x': it leads out of the release",
      "  'code/fifo': it is a FIFO; a release holds files, folders and symlinks",
      "  'code/socket': it is a socket; a release holds files, folders and symlinks",
  };
  if (device) expected.insert("  'code/device': it is a device; a release holds files, folders and symlinks");
  CHECK(lines == expected);
}

TEST_CASE("store: collisions and templates are looked at when sealing") {
  TempDir dir;
  write_unit(dir);
  dir.mkdir("store/objects");
  dir.write("unit/code/config/app.conf", "x");
  CHECK(refusal(dir) == "'" + (dir / "unit") +
                            "' cannot be sealed:\n  'code/config/app.conf' and 'config/common/app.conf.tmpl' both become 'config/app.conf'");
}

TEST_CASE("store: a file that changes while it is being sealed is not sealed") {
  TempDir dir;
  write_unit(dir);
  SourceTree tree(dir / "unit");
  tree.hash_files();
  CHECK_NOTHROW(tree.check_unchanged());
  auto changed = [&](const std::string& name) {
    return "'" + (dir / name) + "' was changed while it was being sealed; nothing was sealed";
  };
  SECTION("rewritten") {
    dir.write("unit/code/bin/server", "PROGRAM", 0755);
    CHECK_THROWS_WITH(tree.check_unchanged(), changed("unit/code/bin/server"));
  }
  SECTION("added") {
    dir.write("unit/code/bin/more", "x");
    CHECK_THROWS_WITH(tree.check_unchanged(), changed("unit/code/bin"));
  }
  SECTION("removed at the top") {
    dir.write("unit/unit.yaml.swp", "x");
    CHECK_THROWS_WITH(tree.check_unchanged(), changed("unit"));
  }
  SECTION("grown between look and read") {
    SourceTree second(dir / "unit");
    dir.write("unit/code/bin/server", "a longer program", 0755);
    second.hash_files();
    CHECK(second.problems == std::vector<std::string>{"'code/bin/server' was changed while it was being sealed"});
  }
}

TEST_CASE("store: damage is found when it is read") {
  TempDir dir;
  write_unit(dir);
  ReleaseStore store(dir / "store");
  auto digest = store.seal(dir / "unit", unsigned_release).digest;
  auto object = sha256("program");
  std::ofstream(store.object_path(object)) << "PROGRAM";
  CHECK_THROWS_WITH(store.object(object), "'" + store.object_path(object) + "' is damaged: its bytes have another digest");
  CHECK_THROWS_WITH(store.export_file(digest, dir / "out"), "'" + store.object_path(object) + "' is damaged: its bytes have another digest");
  CHECK_FALSE(exists(dir / "out"));
  CHECK_THROWS_WITH(store.object(sha256("nothing")), Catch::Contains("is not in the store"));
  auto manifest = dir / ("store/manifests/" + digest.hex() + ".json");
  std::ofstream(manifest, std::ios::app) << " ";
  try {
    store.sealed(digest);
    FAIL("believed");
  } catch (const Error& e) {
    CHECK(e.exit() == Exit::integrity);
  }
  CHECK_THROWS_WITH(store.sealed(sha256("nothing")), Catch::Contains("is not in the store"));
  std::ofstream(dir / "store/releases/storefront/1.0") << "garbage";
  CHECK_THROWS_WITH(store.find("storefront", "1.0"), Catch::Contains("is damaged: it does not hold a digest and a time"));
  CHECK_THROWS_WITH(store.add_object(sha256("a"), "b"), Catch::Contains("is not what it says"));
  store.add_object(sha256("a"), "a");
  CHECK(store.object(sha256("a")) == "a");
}

TEST_CASE("store: a release file carries a release to another store") {
  TempDir dir;
  write_unit(dir);
  dir.write("unit/code/empty", "");
  dir.write("unit/code/large", std::string(3 << 20, 'l'));
  ReleaseStore store(dir / "store"), other(dir / "other");
  auto digest = store.seal(dir / "unit", [](const std::string&) { return "SIGNATURE"; }).digest;
  store.export_file(digest, dir / "release");
  CHECK(ReleaseStore::is_release_file(dir / "release"));
  CHECK_FALSE(ReleaseStore::is_release_file(dir / "unit/unit.yaml"));
  CHECK_FALSE(ReleaseStore::is_release_file(dir / "unit"));
  CHECK(other.import_file(dir / "release") == digest);
  CHECK(other.import_file(dir / "release") == digest);  // again: nothing new
  CHECK(files_below(dir / "store/objects") == files_below(dir / "other/objects"));
  CHECK(other.sealed(digest).signature == "SIGNATURE");
  CHECK(other.find("storefront", "1.0") == digest);
  CHECK(other.object(sha256("")).empty());

  auto good = read_file(dir / "release");
  for (std::size_t i = 0; i < good.size(); i += 1 + good.size() / 97) {
    for (bool cut : {false, true}) {
      auto bad = good;
      if (cut) bad.resize(i);
      else bad[i] = static_cast<char>(bad[i] ^ 0x04);
      std::ofstream(dir / "bad", std::ios::binary) << bad;
      ReleaseStore fresh(dir / "fresh");
      try {
        fresh.import_file(dir / "bad");
        FAIL("imported with damage at " << i);
      } catch (const Error& e) {
        CHECK(std::string(e.what()).find("cannot import '" + (dir / "bad") + "': ") == 0);
        CHECK_FALSE(exists(dir / "fresh/releases"));
      }
      std::filesystem::remove_all(dir / "fresh");
    }
  }
  std::ofstream(dir / "bad", std::ios::binary) << good << "more";
  CHECK_THROWS_WITH(other.import_file(dir / "bad"), "cannot import '" + (dir / "bad") + "': the pack is damaged: there are bytes after its end");
}

TEST_CASE("store: what killed processes left behind goes away") {
  TempDir dir;
  dir.write("store/tmp/0123/0", "half an object");
  timespec old[2] = {{1000, 0}, {1000, 0}};
  REQUIRE(::utimensat(AT_FDCWD, (dir / "store/tmp/0123").c_str(), old, 0) == 0);
  dir.write("store/tmp/4567/0", "another's, at work");
  ReleaseStore(dir / "store").add_object(sha256("x"), "x");
  CHECK(files_below(dir / "store/tmp") == std::set<std::string>{"4567/0"});
}

TEST_CASE("store: thousands of files and a large one are sealed quickly") {
  TempDir dir;
  write_unit(dir);
  for (int i = 0; i < 3000; ++i) dir.write("unit/code/lib/p" + std::to_string(i / 50) + "/f" + std::to_string(i), "content " + std::to_string(i));
  {
    std::ofstream large(dir / "unit/code/large", std::ios::binary);
    std::string block(1 << 20, 'x');
    for (int i = 0; i < 64; ++i) block[0] = static_cast<char>(i), large << block;
  }
  ReleaseStore store(dir / "store");
  auto start = std::clock();  // CPU time: the machine may be busy with other tests
  auto sealed = store.seal(dir / "unit", unsigned_release);
  CHECK(sealed.files == 3004);
  CHECK(sealed.new_objects == 3004);
  CHECK((std::clock() - start) / CLOCKS_PER_SEC < 10);
}
