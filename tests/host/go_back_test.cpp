// Going back, asked for or by itself: absolute, to what is whole, once or ten times, with a full disk, and where it cannot, to a person.
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <thread>

#include "core/base/process.hpp"
#include "tests/host/activation_fixture.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;
using namespace ripcord::test;

TEST_CASE("from nothing and back to nothing") {
  ActivationHost h;
  auto one = h.deploy(sleeper("1.0"));
  auto pid = *h.service_pid();
  auto reply = activate(h.host, h.back("op-2", one, std::nullopt));
  INFO(reply.output);
  CHECK(reply.healthy);
  CHECK(reply.state.phase == OpPhase::confirmed);
  CHECK(h.current().empty());
  CHECK(!process_id(pid));
  auto again = activate(h.host, h.back("op-3", one, std::nullopt));
  CHECK(again.state.phase == OpPhase::confirmed);
  CHECK(!again.switched);
}

TEST_CASE("going back is absolute: at the target nothing, elsewhere a conflict, once or ten times") {
  ActivationHost h;
  auto one = h.deploy(sleeper("1.0"));
  auto two = h.deploy(sleeper("1.1"));
  auto first = activate(h.host, h.back("back-1", two, one));
  CHECK(first.switched);
  CHECK(first.state.phase == OpPhase::confirmed);
  CHECK(!first.state.forward);
  auto pid = h.service_pid();
  for (int i = 2; i < 6; ++i) {
    auto again = activate(h.host, h.back("back-" + std::to_string(i), two, one));
    CHECK(!again.switched);
    CHECK(again.healthy);
    CHECK(again.state.phase == OpPhase::confirmed);
  }
  CHECK(h.service_pid() == pid);
  auto three = h.stage(sleeper("1.2")).release;
  CHECK(refusal([&] { activate(h.host, h.back("back-9", three, two)); }).code == "conflict");
  CHECK(h.nothing_left());
}

TEST_CASE("going back to where the link already is still puts a dead process right") {
  ActivationHost h;
  auto one = h.deploy(sleeper("1.0"));
  auto two = h.stage(sleeper("1.1")).release;
  signal_group(*h.service_pid(), SIGKILL);
  CHECK(h.wait_for([&] { return !h.service_pid(); }, Millis(2000)));
  auto reply = activate(h.host, h.back("back-1", two, one));
  INFO(reply.output);
  CHECK(!reply.switched);
  CHECK(reply.healthy);
  CHECK(h.service_folder() == one.folder());
}

TEST_CASE("going back to a release that does not run leaves the link there and asks for a person") {
  ActivationHost h;
  auto one = h.deploy(sleeper("1.0", "[ -e " + h.dir.path() + "/broken ] && exit 3; exec sleep 1000"));
  auto two = h.deploy(sleeper("1.1"));
  put(h.dir / "broken", "");
  auto reply = activate(h.host, h.back("back-1", two, one));
  CHECK(!reply.healthy);
  CHECK(reply.state.phase == OpPhase::needs_operator);
  CHECK(reply.state.detail == "'current' is on " + one.folder() + ", but after 3 of 3 attempts health failed: service 'web' ended: exit status 3" + h.to_look());
  CHECK(h.current() == "releases/" + one.folder());
}

TEST_CASE("somebody moved current meanwhile: a person must look, and nothing is touched") {
  ActivationHost h;
  auto one = h.deploy(sleeper("1.0"));
  auto two = h.stage(sleeper("1.1")).release;
  activate(h.host, h.forward("op-2", one, two, 60000));
  ::unlink(h.unit().current.c_str());
  REQUIRE(::symlink("/opt/else", h.unit().current.c_str()) == 0);
  CHECK(refusal([&] { h.confirm_op("op-2"); }).code == "conflict");
  auto three = h.stage(sleeper("1.2")).release;
  CHECK(refusal([&] { activate(h.host, h.forward("op-3", one, three)); }).code == "conflict");
  auto state = h.state("op-2");
  CHECK(state.phase == OpPhase::needs_operator);
  CHECK(state.detail == "operation 'op-3' ended it; 'current' names '/opt/else', which is neither the old nor the new release of this "
                        "operation" + h.to_look());
  CHECK(h.current() == "/opt/else");
  CHECK(!exists(h.unit().pending()));
}

TEST_CASE("an old release that is damaged is not gone back to, unless it can be put right") {
  ActivationHost h;
  auto first = sleeper("1.0");
  first.file("code/data", "what was sealed");
  auto second = sleeper("1.1");
  bool twin = GENERATE(false, true);
  if (twin) second.file("code/copy", "what was sealed");  // the same object in another release
  auto one = h.deploy(first);
  auto two = h.stage(second).release;
  activate(h.host, h.forward("op-2", one, two, 60000));
  put(h.unit().release(one.folder()) + "/data", "edited by hand!");
  auto three = h.stage(sleeper("1.2")).release;
  if (twin) {
    CHECK(activate(h.host, h.back("op-3", two, one)).healthy);
    CHECK(h.state("op-2").phase == OpPhase::reverted);
    CHECK(text_of(h.unit().release(one.folder()) + "/data") == "what was sealed");
  } else {
    CHECK(refusal([&] { activate(h.host, h.forward("op-3", one, three)); }).code == "conflict");
    CHECK(h.state("op-2").phase == OpPhase::needs_operator);
    CHECK(h.state("op-2").detail == "operation 'op-3' ended it; did not go back: release " + one.folder() +
                                        " is damaged (changed of 'data') and cannot be put right from other releases on this host" + h.to_look());
    CHECK(h.current() == "releases/" + two.folder());
    CHECK(h.service_folder() == two.folder());
  }
}

TEST_CASE("an old release that does not run any more is tried three times") {
  ActivationHost h;
  auto old = sleeper("1.0", "[ -e " + h.dir.path() + "/broken ] && exit 3; exec sleep 1000");
  old.manifest.spec.health.min_healthy_time = Millis(1000);  // long enough to see it end, on a busy machine too
  auto one = h.deploy(old);
  auto two = h.stage(sleeper("1.1")).release;
  activate(h.host, h.forward("op-2", one, two, 1000));
  put(h.dir / "broken", "");
  CHECK(h.wait_for([&] { return terminal(h.state("op-2").phase); }, Millis(30000)));
  auto state = h.state("op-2");
  CHECK(state.phase == OpPhase::needs_operator);
  CHECK(state.detail == "not confirmed by its deadline; 'current' is back on " + one.folder() +
                            ", but after 3 attempts it does not run well: service 'web' ended: exit status 3" + h.to_look());
  CHECK(h.history().find("op-2")->attempts == 3);
  CHECK(h.current() == "releases/" + one.folder());
}

TEST_CASE("a full disk does not keep the host from going back") {
  ActivationHost h;
  if (::mount("tmpfs", h.dir.path().c_str(), "tmpfs", 0, "size=8m,nr_inodes=400") != 0) {
    WARN("cannot mount a tmpfs here (" << errno_text(errno) << "): not tested");
    SUCCEED();
    return;
  }
  struct Unmount {
    ActivationHost& host;
    ~Unmount() {
      host.end_services();
      ::umount2(host.dir.path().c_str(), MNT_DETACH);
    }
  } unmount{h};
  auto one = h.deploy(sleeper("1.0"));
  auto two = h.stage(sleeper("1.1")).release;
  REQUIRE(activate(h.host, h.forward("op-2", one, two, 1500)).healthy);
  {
    Fd fill = open_file(h.dir / "fill", O_WRONLY | O_CREAT);
    std::string block(65536, 'x');
    while (::write(fill.get(), block.data(), block.size()) > 0) {
    }
    for (int i = 0; i < 1000; ++i) {
      int fd = ::open((h.dir / ("inode-" + std::to_string(i))).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
      if (fd < 0) break;
      ::close(fd);
    }
  }
  CHECK(refusal([&] { fence(h.host, {"other", "/srv"}, 1, "me", ""); }).code != "");  // it really is full
  CHECK(h.wait_for([&] { return h.current() == "releases/" + one.folder() && h.service_folder() == one.folder(); }, Millis(6500)));
  CHECK(h.wait_for([&] { return h.state("op-2").phase == OpPhase::reverted; }, Millis(8000)));
  CHECK(h.wait_for([&] { return !exists(h.unit().pending()); }, Millis(2000)));
}

TEST_CASE("two controllers go back at once: one switches, both see it done") {
  ActivationHost h;
  auto one = h.deploy(sleeper("1.0"));
  auto two = h.deploy(sleeper("1.1"));
  ActivateReply first, second;
  auto request = h.back("back-a", two, one);
  std::thread other([&] {
    HostContext own = h.host;
    own.event = [](std::string_view) {};
    second = activate(own, h.back("back-b", two, one));
  });
  HostContext own = h.host;
  own.event = [](std::string_view) {};
  first = activate(own, request);
  other.join();
  CHECK(first.switched + second.switched == 1);
  CHECK(first.state.phase == OpPhase::confirmed);
  CHECK(second.state.phase == OpPhase::confirmed);
  CHECK(h.service_folder() == one.folder());
}
