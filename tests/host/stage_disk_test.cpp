// Staging on disks that are full, fill up, or may not be written: the host is left as it was.
#include <sys/mount.h>

#include <cerrno>

#include "manifests/host/stage.hpp"
#include "tests/host/stage_fixture.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

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
