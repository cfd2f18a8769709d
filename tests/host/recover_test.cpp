// What the next session finds after a helper, a dead-man switch or the whole host went, and what it makes of it.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/process.hpp"
#include "core/base/wire.hpp"
#include "tests/host/activation_fixture.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

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
  h.kill_deadman();
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
  h.kill_deadman();
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
  signal_group(*h.service_pid(), SIGKILL);
  h.kill_deadman();
  h.host.boot_id = "00000000-0000-0000-0000-000000000002";
  CHECK(recover(h.host).at(0).what == "the host was restarted before it was confirmed: reverted");
  CHECK(h.current() == "releases/" + one.folder());
  CHECK(h.service_folder() == one.folder());
}
