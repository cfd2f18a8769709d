#include "manifests/host/beneath.hpp"

#include <fcntl.h>
#include <unistd.h>

#include "manifests/host/own_files.hpp"
#include "tests/host/test_host.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;
using namespace ripcord::test;

TEST_CASE("names are opened beneath the folder and never through a link", "[beneath]") {
  auto way = GENERATE(Beneath::Way::automatic, Beneath::Way::walk);
  TempDir outside, dir;
  outside.write("victim", "untouched");
  Beneath files(dir.path(), way);
  files.make_dir("bin");
  files.make_dir("bin/deep");
  { write_own_fd(files.create("bin/deep/tool").get(), "hello", "tool"); }
  CHECK(text_of(dir / "bin/deep/tool") == "hello");
  CHECK(mode_of(dir / "bin/deep/tool") == 0600);

  SECTION("a planted folder link") {
    dir.link("etc", outside.path());
    auto r = refusal([&] { files.create("etc/new"); });
    CHECK(r.code == "bad_path");
    CHECK(r.message.find("a link is in the way") != std::string::npos);
    CHECK(refusal([&] { files.make_dir("etc/new"); }).code == "bad_path");
    CHECK(refusal([&] { files.make_link("etc/new", "x"); }).code == "bad_path");
    CHECK(names_in(outside.path()) == std::vector<std::string>{"victim"});
  }
  SECTION("a planted file link") {
    dir.link("config", outside / "victim");
    CHECK(refusal([&] { files.create("config"); }).message.find("File exists") != std::string::npos);
    CHECK(refusal([&] { files.open("config", O_WRONLY); }).code == "bad_path");
    CHECK(text_of(outside / "victim") == "untouched");
  }
  SECTION("ways out") {
    for (const char* path : {"../x", "bin/../../x", "..", "bin/.."}) CHECK_FALSE(files.try_open(path, O_RDONLY));
    CHECK_FALSE(files.try_open("bin/../../../../../../etc/passwd", O_RDONLY));
  }
  SECTION("stat is of the link itself") {
    dir.link("link", outside / "victim");
    struct stat st {};
    REQUIRE(files.stat("link", st));
    CHECK(S_ISLNK(st.st_mode));
  }
}

TEST_CASE("the folder itself must not be a link", "[beneath]") {
  TempDir dir;
  dir.mkdir("real");
  dir.link("fake", "real");
  CHECK_NOTHROW(Beneath(dir / "real"));
  CHECK_THROWS_AS(Beneath(dir / "fake"), HostFailure);
}

TEST_CASE("removal takes read-only folders and leaves what links point to", "[beneath]") {
  TempDir outside, dir;
  outside.write("victim", "untouched");
  dir.write("gone/a/b/file", "x");
  dir.link("gone/a/out", outside.path());
  ::chmod((dir / "gone/a/b").c_str(), 0500);
  ::chmod((dir / "gone/a").c_str(), 0500);
  Fd folder(::open(dir.path().c_str(), O_RDONLY | O_DIRECTORY));
  remove_beneath(folder.get(), "gone", dir / "gone");
  CHECK(names_in(dir.path()).empty());
  CHECK(text_of(outside / "victim") == "untouched");
  CHECK_NOTHROW(remove_beneath(folder.get(), "gone", dir / "gone"));
}
