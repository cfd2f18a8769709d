// The dead-man switch with its real process: nobody confirms, helpers die, disks are full.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "core/base/process.hpp"
#include "core/base/wire.hpp"
#include "manifests/host/lock.hpp"
#include "manifests/host/pending.hpp"
#include "tests/host/activation_fixture.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

bool terminal(OpPhase p) { return p == OpPhase::reverted || p == OpPhase::failed_unchanged || p == OpPhase::needs_operator; }

// A real `ripcord-host serve`, so that it can be killed.
class Helper {
 public:
  explicit Helper(const ActivationHost& h) {
    int to[2], from[2];
    REQUIRE(::pipe2(to, O_CLOEXEC) == 0);
    REQUIRE(::pipe2(from, O_CLOEXEC) == 0);
    std::string program = h.host.program, root = h.dir.path();
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(to[0], 0);
      ::dup2(from[1], 1);
      ::execl(program.c_str(), program.c_str(), "serve", "--root", root.c_str(), nullptr);
      ::_exit(127);
    }
    ::close(to[0]);
    ::close(from[1]);
    in_.reset(to[1]);
    out_.reset(from[0]);
    write_all(in_.get(), "RIPCORD 0123456789abcdef\n", "the helper");
    std::string line;
    for (char c = 0; c != '\n' && ::read(out_.get(), &c, 1) == 1;) line += c;
    REQUIRE(line == "RIPCORD-HOST 0123456789abcdef\n");
  }
  ~Helper() { end(); }
  void ask(json::object request) {
    request["id"] = ++id_;
    std::string bytes;
    append_frame(bytes, FrameKind::control, json::serialize(request));
    write_all(in_.get(), bytes, "the helper");
  }
  // Reads until the event, or the reply when `event` is empty.
  json::object read_until(const std::string& event) {
    for (Elapsed end = boot_now() + Millis(15000); boot_now() < end;) {
      while (auto frame = reader_.next()) {
        auto o = parse_json_object(frame->payload, "a frame");
        if (event.empty() ? o.contains("ok") : get_string_or(o, "event", "") == event) return o;
        if (!event.empty() && o.contains("ok")) FAIL("a reply before the event " << event << ": " << json::serialize(o));
      }
      pollfd p{out_.get(), POLLIN, 0};
      if (::poll(&p, 1, 200) <= 0) continue;
      char buffer[4096];
      ssize_t n = ::read(out_.get(), buffer, sizeof buffer);
      if (n <= 0) break;
      reader_.feed({buffer, static_cast<std::size_t>(n)});
    }
    FAIL("no '" << event << "' from the helper");
    return {};
  }
  void kill_now() {
    ::kill(pid_, SIGKILL);
    end();
  }
  void end() {
    in_.reset();
    if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

 private:
  pid_t pid_ = 0;
  int id_ = 0;
  Fd in_, out_;
  FrameReader reader_;
};

json::object activation(const ActivateRequest& r) {
  json::object o = to_json(r);
  o["do"] = "activate";
  return o;
}

}  // namespace

TEST_CASE("nobody confirms: the host goes back by itself, restart included") {
  ActivationHost h;
  auto one = h.deploy(sleeper("1.0"));
  auto two = h.stage(sleeper("1.1")).release;
  REQUIRE(activate(h.host, h.forward("op-2", one, two, 1500)).healthy);
  auto new_pid = *h.service_pid();
  auto pending = read_pending(h.unit());
  REQUIRE(pending);
  CHECK(is_alive(pending->deadman));
  CHECK(::getsid(pending->deadman.pid) == pending->deadman.pid);
  ::kill(pending->deadman.pid, SIGTERM);  // it does not go by being asked
  CHECK(h.wait_for([&] { return terminal(h.state("op-2").phase); }, Millis(6500)));
  auto state = h.state("op-2");
  CHECK(state.phase == OpPhase::reverted);
  CHECK(state.detail == "not confirmed by its deadline");
  CHECK(h.current() == "releases/" + one.folder());
  CHECK(h.service_folder() == one.folder());
  CHECK(!process_id(new_pid));
  CHECK(h.wait_for([&] { return h.nothing_left(); }, Millis(2000)));
  CHECK(h.wait_for([&] { reap(pending->deadman.pid); return !is_alive(pending->deadman); }, Millis(2000)));
  // too late
  CHECK(h.confirm_op("op-2").phase == OpPhase::reverted);
  CHECK(h.current() == "releases/" + one.folder());
}

TEST_CASE("a confirmed operation's switch is gone, and a first deployment goes back to nothing") {
  ActivationHost h;
  auto one = h.stage(sleeper("1.0")).release;
  activate(h.host, h.forward("op-1", std::nullopt, one, 1200));
  auto pid = *h.service_pid();
  CHECK(h.wait_for([&] { return terminal(h.state("op-1").phase); }, Millis(6500)));
  CHECK(h.state("op-1").phase == OpPhase::reverted);
  CHECK(h.current().empty());
  CHECK(!process_id(pid));
  activate(h.host, h.forward("op-2", std::nullopt, one, 1200));
  auto deadman = read_pending(h.unit())->deadman;
  CHECK(h.confirm_op("op-2").phase == OpPhase::confirmed);
  CHECK(h.wait_for([&] { reap(deadman.pid); return !is_alive(deadman); }, Millis(500)));
  ::usleep(1500000);
  CHECK(h.state("op-2").phase == OpPhase::confirmed);
  CHECK(h.current() == "releases/" + one.folder());
}

TEST_CASE("a foreign link at current is kept as the way back") {
  ActivationHost h;
  auto one = h.stage(sleeper("1.0")).release;
  std::string elsewhere = h.dir.mkdir("opt/app-2019");
  REQUIRE(::symlink("../../opt/app-2019", h.unit().current.c_str()) == 0);
  activate(h.host, h.forward("op-1", std::nullopt, one, 1000));
  CHECK(h.current() == "releases/" + one.folder());
  CHECK(h.wait_for([&] { return terminal(h.state("op-1").phase); }, Millis(6000)));
  CHECK(h.state("op-1").phase == OpPhase::reverted);
  CHECK(h.current() == "../../opt/app-2019");
}

TEST_CASE("the switch kills the hook that hangs, and its helper notices") {
  ActivationHost h;
  auto one = h.deploy(sleeper("1.0"));
  auto bad = sleeper("1.1");
  std::string note = h.dir / "hook";
  Service hung = bad.manifest.spec.services[0];
  hung.name = "second";
  hung.run.clear();
  hung.start = Action{{"/bin/sh", "-c", "echo $$ > " + note + "; sleep 600"}, Millis(60000)};
  hung.stop = Action{{"/bin/true"}};
  bad.manifest.spec.services.push_back(hung);
  auto two = h.stage(bad).release;
  Elapsed begin = boot_now();
  auto reply = activate(h.host, h.forward("op-2", one, two, 1000));
  CHECK(boot_now() - begin < Millis(7000));
  CHECK(!reply.healthy);
  CHECK(reply.failed_step == "restart");
  CHECK(reply.output == "operation 'op-2' was ended meanwhile: it is reverted");
  CHECK(reply.state.phase == OpPhase::reverted);
  CHECK(!process_id(std::stoi(text_of(note))));
  CHECK(h.service_folder() == one.folder());
}

TEST_CASE("the helper is killed after any step: recover and the switch bring the host to a state that the journal tells") {
  for (std::string step : {"armed", "activated", "restarted"}) {
    DYNAMIC_SECTION("killed after " << step) {
      ActivationHost h;
      auto one = h.deploy(sleeper("1.0"));
      auto slow = sleeper("1.1");
      slow.manifest.spec.health.min_healthy_time = Millis(20000);  // it is watching health when it is killed last
      slow.manifest.spec.health.healthy_deadline = Millis(30000);
      auto two = h.stage(slow).release;
      {
        Helper helper(h);
        helper.ask(activation(h.forward("op-2", one, two, 4000)));
        helper.read_until(step);
        helper.kill_now();
      }
      Helper second(h);  // recovers first
      second.ask({{"do", "finish"}, {"unit", "storefront"}, {"root", "/srv"}, {"op", "none"}});
      second.read_until("");
      auto phase = h.state("op-2").phase;
      CHECK((phase == OpPhase::failed_unchanged || phase == OpPhase::activated));
      CHECK(h.wait_for([&] { return terminal(h.state("op-2").phase); }, Millis(10000)));
      CHECK(h.current() == "releases/" + one.folder());
      CHECK(h.wait_for([&] { return h.service_folder() == one.folder(); }, Millis(3000)));
      CHECK(h.wait_for([&] { return h.nothing_left(); }, Millis(3000)));
    }
  }
}

TEST_CASE("a killed helper's operation can be finished and confirmed by the next") {
  ActivationHost h;
  auto one = h.deploy(sleeper("1.0"));
  auto two = h.stage(sleeper("1.1")).release;
  {
    Helper helper(h);
    helper.ask(activation(h.forward("op-2", one, two, 20000)));
    helper.read_until("activated");
    helper.kill_now();
  }
  auto reply = finish(h.host, h.ref(), "op-2");
  INFO(reply.output);
  CHECK(reply.healthy);
  CHECK(h.confirm_op("op-2").phase == OpPhase::confirmed);
  CHECK(h.service_folder() == two.folder());
  CHECK(h.nothing_left());
}

TEST_CASE("killed between the rename and the journal: the switch is completed, and can be finished") {
  ActivationHost h;
  auto one = h.deploy(sleeper("1.0"));
  auto two = h.stage(sleeper("1.1")).release;
  // What such a helper leaves: everything of an armed operation, the new link, and no ACTIVATED.
  REQUIRE(activate(h.host, h.forward("op-2", one, two, 60000)).switched);
  std::string journal = text_of(h.unit().journal());
  journal.erase(journal.rfind('\n', journal.size() - 2) + 1);
  put(h.unit().journal(), journal);
  CHECK(h.state("op-2").phase == OpPhase::intent);
  auto done = recover(h.host);
  REQUIRE(done.size() == 1);
  CHECK(done[0].what == "completed the switch");
  CHECK(h.state("op-2").phase == OpPhase::activated);
  CHECK(finish(h.host, h.ref(), "op-2").healthy);
  CHECK(h.confirm_op("op-2").phase == OpPhase::confirmed);
}

TEST_CASE("when the switch's process was killed too, the next session takes back what is overdue") {
  ActivationHost h;
  auto one = h.deploy(sleeper("1.0"));
  auto two = h.stage(sleeper("1.1")).release;
  activate(h.host, h.forward("op-2", one, two, 800));
  auto deadman = read_pending(h.unit())->deadman;
  ::kill(deadman.pid, SIGKILL);
  CHECK(h.wait_for([&] { reap(deadman.pid); return !is_alive(deadman); }, Millis(1000)));
  ::usleep(1000000);
  CHECK(h.state("op-2").deadline_left_ms == 0);
  SECTION("a read-only session") {
    h.host.read_only = true;
    CHECK(execute_overdue(h.host, h.ref()));
    CHECK(!execute_overdue(h.host, h.ref()));
  }
  SECTION("a writing one") { CHECK(recover(h.host).at(0).what == "not confirmed within 800ms: reverted"); }
  SECTION("a confirm that comes too late") { CHECK(h.confirm_op("op-2").phase == OpPhase::reverted); }
  CHECK(h.state("op-2").phase == OpPhase::reverted);
  CHECK(h.service_folder() == one.folder());
}

TEST_CASE("a switch that died early is armed again") {
  ActivationHost h;
  auto one = h.deploy(sleeper("1.0"));
  auto two = h.stage(sleeper("1.1")).release;
  activate(h.host, h.forward("op-2", one, two, 3000));
  auto deadman = read_pending(h.unit())->deadman;
  ::kill(deadman.pid, SIGKILL);
  CHECK(h.wait_for([&] { reap(deadman.pid); return !is_alive(deadman); }, Millis(1000)));
  CHECK(recover(h.host).at(0).what == "its dead-man switch was gone and is armed again");
  CHECK(recover(h.host).empty());
  CHECK(h.wait_for([&] { return h.state("op-2").phase == OpPhase::reverted; }, Millis(8000)));
  CHECK(h.service_folder() == one.folder());
}

TEST_CASE("after a reboot the host goes back at once") {
  ActivationHost h;
  auto one = h.deploy(sleeper("1.0"));
  auto two = h.stage(sleeper("1.1")).release;
  activate(h.host, h.forward("op-2", one, two, 60000));
  auto deadman = read_pending(h.unit())->deadman;
  signal_group(*h.service_pid(), SIGKILL);
  ::kill(deadman.pid, SIGKILL);
  CHECK(h.wait_for([&] { reap(deadman.pid); return !is_alive(deadman); }, Millis(1000)));
  h.host.boot_id = "00000000-0000-0000-0000-000000000002";
  CHECK(recover(h.host).at(0).what == "the host was restarted before it was confirmed: reverted");
  CHECK(h.current() == "releases/" + one.folder());
  CHECK(h.service_folder() == one.folder());
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

TEST_CASE("confirm and the switch race at the deadline: exactly one wins") {
  for (int round = 0; round < 4; ++round) {
    ActivationHost h;
    auto one = h.deploy(sleeper("1.0"));
    auto two = h.stage(sleeper("1.1")).release;
    auto reply = activate(h.host, h.forward("op-2", one, two, 700));
    if (!reply.healthy) continue;  // a slow machine: the switch was first
    auto left = h.state("op-2").deadline_left_ms;
    ::usleep(static_cast<useconds_t>(std::max<std::int64_t>(0, left - 5 + round * 4) * 1000));
    auto state = h.confirm_op("op-2");
    CHECK(h.wait_for([&] { return h.history().find("op-2")->terminal(); }, Millis(6000)));
    int ends = 0;
    for (const auto& kind : h.kinds()) ends += kind == "CONFIRMED" || kind == "REVERTED" || kind == "NEEDS_OPERATOR";
    CHECK(ends == 2);  // of the first deployment, and of this
    bool confirmed = h.state("op-2").phase == OpPhase::confirmed;
    CHECK((state.phase == OpPhase::confirmed) == confirmed);
    CHECK(h.current() == "releases/" + (confirmed ? two : one).folder());
  }
}

TEST_CASE("with an init system the timer is its, and a unit for the next boot is installed") {
  ActivationHost h;
  if (::geteuid() != 0) {
    SUCCEED("needs root");
    return;
  }
  // A stub supervisor: it notes what it is asked.
  h.dir.mkdir("run/systemd/system");
  h.dir.mkdir("etc/systemd/system");
  std::string log = h.dir / "asked", bin = h.dir.mkdir("bin");
  for (const char* name : {"systemd-run", "systemctl"})
    h.dir.write(std::string("bin/") + name, "#!/bin/sh\necho " + std::string(name) + " \"$@\" >> " + log + "\n", 0755);
  std::string path = ::getenv("PATH");
  ::setenv("PATH", (bin + ":" + path).c_str(), 1);
  CHECK(deadman_strength(h.host) == "strong");
  auto one = h.stage(sleeper("1.0")).release;
  auto request = h.forward("op-1", std::nullopt, one, 1500);
  request.demand_strong = true;
  CHECK(activate(h.host, request).healthy);
  CHECK(h.history().find("op-1")->strength == "strong");
  std::string asked = text_of(log);
  CHECK(asked.find("systemd-run --quiet --collect --on-active=") == 0);
  CHECK(asked.find(" --property=KillMode=process --unit=ripcord-deadman-storefront-op-1 " + h.host.program + " deadman --state-dir " +
                   h.host.layout.state + " --unit storefront --unit-root /srv --op op-1 --root " + h.dir.path() + " --now\n") !=
        std::string::npos);
  std::string unit = text_of(h.dir / "etc/systemd/system/ripcord-recover.service");
  CHECK(unit.find("ExecStart=" + h.host.program + " recover --state-dir " + h.host.layout.state) != std::string::npos);
  CHECK(read_link(h.dir / "etc/systemd/system/multi-user.target.wants/ripcord-recover.service") ==
        "/etc/systemd/system/ripcord-recover.service");

  SECTION("confirmed: the timer is stopped") {
    CHECK(h.confirm_op("op-1").phase == OpPhase::confirmed);
    CHECK(text_of(log).find("systemctl stop -- ripcord-deadman-storefront-op-1.timer\n") != std::string::npos);
  }
  SECTION("not confirmed: what the timer starts goes back") {
    ::usleep(1600000);
    int status = deadman_main({"--state-dir", h.host.layout.state, "--unit", "storefront", "--unit-root", "/srv", "--op", "other", "--root",
                               h.dir.path(), "--now"});
    CHECK(status != 0);  // another operation is armed
    auto r = run_process({.argv = {h.host.program, "deadman", "--state-dir", h.host.layout.state, "--unit", "storefront", "--unit-root",
                                   "/srv", "--op", "op-1", "--root", h.dir.path(), "--now"}},
                         Millis(10000));
    CHECK(r.ok());
    CHECK(h.state("op-1").phase == OpPhase::reverted);
    CHECK(h.current().empty());
  }
  ::setenv("PATH", path.c_str(), 1);
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
