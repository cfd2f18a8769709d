#include <signal.h>
#include <unistd.h>

#include "core/base/process.hpp"
#include "tests/host/activation_fixture.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;
using namespace ripcord::test;

using Words = std::vector<std::string>;

TEST_CASE("a first deployment is armed, activated, runs, and stays when it is confirmed") {
  ActivationHost h;
  auto to = h.stage(sleeper("1.0")).release;
  h.events.clear();
  auto reply = activate(h.host, h.forward("op-1", std::nullopt, to));
  INFO(reply.output);
  CHECK(reply.healthy);
  CHECK(reply.switched);
  CHECK(reply.failed_step.empty());
  CHECK(reply.state.phase == OpPhase::activated);
  CHECK(reply.state.deadline_left_ms > 50000);
  CHECK(h.events == Words{"armed", "activated", "restarted", "healthy"});
  CHECK(h.current() == "releases/" + to.folder());
  CHECK(h.service_folder() == to.folder());
  CHECK(exists(h.unit().pending()));
  auto state = h.confirm_op("op-1");
  CHECK(state.phase == OpPhase::confirmed);
  CHECK(state.deadline_left_ms == -1);
  CHECK(h.nothing_left());
  CHECK(h.kinds() == Words{"CREATED", "LABELS", "STAGED", "FENCE", "INTENT", "ARMED", "ACTIVATED", "CONFIRMED"});
  CHECK(h.log() == "started 1.0\n");
  CHECK(h.confirm_op("op-1").phase == OpPhase::confirmed);  // asked again: the same
  CHECK(h.kinds().size() == 8);
}

TEST_CASE("the next release replaces the process of the one before") {
  ActivationHost h;
  auto one = h.deploy(sleeper("1.0"));
  auto old_pid = *h.service_pid();
  auto two = h.deploy(sleeper("1.1"));
  CHECK(h.current() == "releases/" + two.folder());
  CHECK(h.service_folder() == two.folder());
  CHECK(!process_id(old_pid));
  CHECK(h.log() == "started 1.0\nstarted 1.1\n");
}

TEST_CASE("an operation is activated at most once") {
  ActivationHost h;
  auto to = h.stage(sleeper("1.0")).release;
  auto request = h.forward("op-1", std::nullopt, to);
  activate(h.host, request);
  auto pid = h.service_pid();
  auto again = activate(h.host, request);
  CHECK(!again.switched);
  CHECK(again.state.phase == OpPhase::activated);
  CHECK(h.service_pid() == pid);
  h.confirm_op("op-1");
  CHECK(activate(h.host, request).state.phase == OpPhase::confirmed);
  CHECK(h.log() == "started 1.0\n");
}

TEST_CASE("an unhealthy release says which step failed, with the end of its log") {
  ActivationHost h;
  auto one = h.deploy(sleeper("1.0"));
  auto two = h.stage(sleeper("1.1", "echo cannot open the database; exit 7")).release;
  Elapsed begin = boot_now();
  auto reply = activate(h.host, h.forward("op-2", one, two));
  CHECK(boot_now() - begin < Millis(2500));  // long before healthy_deadline: the process has ended
  CHECK(!reply.healthy);
  CHECK(reply.switched);
  CHECK(reply.failed_step == "health");
  CHECK(reply.output == "service 'web' ended: exit status 7");
  CHECK(reply.log_tail == "started 1.0\nstarted 1.1\ncannot open the database\n");
  CHECK(reply.state.phase == OpPhase::activated);
  auto back = activate(h.host, h.back("op-3", two, one));
  CHECK(back.healthy);
  CHECK(back.state.phase == OpPhase::confirmed);
  CHECK(h.state("op-2").phase == OpPhase::reverted);
  CHECK(h.current() == "releases/" + one.folder());
  CHECK(h.service_folder() == one.folder());
  CHECK(h.nothing_left());
}

TEST_CASE("a program that cannot be started is reported at once") {
  ActivationHost h;
  auto release = sleeper("1.0");
  release.manifest.spec.services[0].run = {"bin/missing"};
  auto to = h.stage(release).release;
  auto reply = activate(h.host, h.forward("op-1", std::nullopt, to));
  CHECK(reply.failed_step == "start");
  CHECK(reply.output == "service 'web': cannot execute '" + h.unit().release(to.folder()) +
                            "/bin/missing': No such file or directory (ENOENT)");
}

TEST_CASE("a hook over its deadline is killed with its children") {
  ActivationHost h;
  auto release = sleeper("1.0");
  std::string note = h.dir / "child";
  Service s;
  s.name = "web";
  s.start = Action{{"/bin/sh", "-c", "sleep 500 & echo $! > " + note + "; echo waiting; sleep 501"}, Millis(300)};
  s.stop = Action{{"/bin/true"}, Millis(1000)};
  release.manifest.spec.services = {s};
  auto reply = activate(h.host, h.forward("op-1", std::nullopt, h.stage(release).release));
  CHECK(reply.failed_step == "start");
  CHECK(reply.output == "start of storefront@1.0: '/bin/sh -c sleep 500 & echo $! > " + note +
                            "; echo waiting; sleep 501' did not end within 300ms and was killed\nwaiting\n");
  pid_t child = std::stoi(text_of(note));
  CHECK(h.wait_for([&] { return !process_id(child); }, Millis(2000)));
}

TEST_CASE("a damaged release is not activated, unless it can be put right") {
  ActivationHost h;
  auto one = h.deploy(sleeper("1.0"));
  auto two = h.stage(sleeper("1.1", "exec sleep 1001")).release;
  put(h.unit().release(two.folder()) + "/bin/serve", "#!/bin/sh\nevil\n");
  auto r = refusal([&] { activate(h.host, h.forward("op-2", one, two)); });
  CHECK(r.code == "damaged");
  CHECK(r.message.find("release " + two.folder() + " on this host is damaged: 'bin/serve' changed (") == 0);
  CHECK(h.current() == "releases/" + one.folder());
  CHECK(h.state("op-2").phase == OpPhase::none);
  auto three = h.stage(sleeper("1.2")).release;  // the same script as 1.0
  put(h.unit().release(three.folder()) + "/bin/serve", "#!/bin/sh\nevil\n");
  auto reply = activate(h.host, h.forward("op-3", one, three));
  INFO(reply.output);
  CHECK(reply.healthy);
  CHECK(h.log() == "started 1.0\nstarted 1.2\n");
}

TEST_CASE("a spread is waited for before anything is armed, and not when the controller is gone") {
  ActivationHost h;
  auto to = h.stage(sleeper("1.0")).release;
  auto request = h.forward("op-1", std::nullopt, to, 5000);
  request.spread_ms = 300;
  Elapsed begin = boot_now();
  auto reply = activate(h.host, request);
  CHECK(boot_now() - begin >= Millis(300));
  CHECK(reply.healthy);
  CHECK(reply.state.deadline_left_ms > 4000);
  h.confirm_op("op-1");
  auto two = h.stage(sleeper("1.1")).release;
  auto second = h.forward("op-2", to, two);
  second.spread_ms = 10000;
  h.host.peer_gone = [] { return true; };
  CHECK(refusal([&] { activate(h.host, second); }).code == "cancelled");
  CHECK(h.state("op-2").phase == OpPhase::none);
}

TEST_CASE("finish goes on with an operation whose helper died, and does not restart what is proven to run") {
  ActivationHost h;
  auto to = h.stage(sleeper("1.0")).release;
  activate(h.host, h.forward("op-1", std::nullopt, to));
  auto pid = h.service_pid();
  auto proven = finish(h.host, h.ref(), "op-1");
  CHECK(proven.healthy);
  CHECK(!proven.switched);
  CHECK(h.service_pid() == pid);
  signal_group(*pid, SIGKILL);
  CHECK(h.wait_for([&] { return !h.service_pid(); }, Millis(2000)));
  auto again = finish(h.host, h.ref(), "op-1");
  INFO(again.output);
  CHECK(again.healthy);
  CHECK(h.service_pid() != pid);
  h.confirm_op("op-1");
  CHECK(!finish(h.host, h.ref(), "op-1").healthy);  // it is over: only the state comes back
  CHECK(finish(h.host, h.ref(), "op-1").state.phase == OpPhase::confirmed);
}

TEST_CASE("files: are placed, kept when confirmed, refused when foreign") {
  ActivationHost h;
  std::string etc = h.dir.mkdir("etc");
  auto release = [&](const std::string& version, const std::string& text, bool second) {
    auto r = sleeper(version);
    r.file("code/cron", text).file("code/extra", "extra");
    r.manifest.spec.files = {{"cron", "/etc/storefront", "", 0640}};
    if (second) r.manifest.spec.files.push_back({"extra", "/etc/new/extra", "", 0644});
    return r;
  };
  auto staged = h.stage(release("1.0", "one", false)).release;
  put(etc + "/storefront", "somebody else's");
  auto r = refusal([&] { activate(h.host, h.forward("op-1", std::nullopt, staged)); });
  CHECK(r.code == "conflict");
  CHECK(r.message == "files: '" + etc + "/storefront' is there, and no release of 'storefront' put it there");
  ::unlink((etc + "/storefront").c_str());
  auto one = h.deploy(release("1.0", "one", false));
  CHECK(text_of(etc + "/storefront") == "one");
  CHECK(mode_of(etc + "/storefront") == 0640);
  auto two = h.stage(release("1.1", "two", true)).release;
  activate(h.host, h.forward("op-2", one, two));
  CHECK(text_of(etc + "/storefront") == "two");
  CHECK(text_of(etc + "/new/extra") == "extra");
  CHECK(text_of(etc + "/.storefront.ripcord-old") == "one");
  activate(h.host, h.back("op-3", two, one));
  CHECK(text_of(etc + "/storefront") == "one");
  CHECK(!exists(etc + "/new/extra"));
  CHECK(names_in(etc) == Words{"new", "storefront"});
  auto three = h.deploy(release("1.2", "three", true));
  CHECK(names_in(etc) == Words{"new", "storefront"});
  auto gone = activate(h.host, h.back("op-5", three, std::nullopt));
  CHECK(gone.healthy);
  CHECK(names_in(etc) == Words{"new"});
  CHECK(names_in(etc + "/new").empty());
}

TEST_CASE("files: what somebody edited is kept as evidence before it is replaced or removed, and holds nobody up") {
  ActivationHost h;
  std::string etc = h.dir.mkdir("etc");
  auto release = [&](const std::string& version, const std::string& text) {
    auto r = sleeper(version);
    r.file("code/cron", text);
    r.manifest.spec.files = {{"cron", "/etc/storefront", "", 0640}};
    return r;
  };
  auto evidence = [&](const ActivateReply& reply, const std::string& text) {
    REQUIRE(reply.kept.size() == 1);
    auto at = reply.kept[0].find(", kept in ");
    REQUIRE(at != std::string::npos);
    CHECK(reply.kept[0].substr(0, at) == etc + "/storefront");
    CHECK(text_of(reply.kept[0].substr(at + 10) + "/storefront") == text);
  };
  auto one = h.deploy(release("1.0", "one"));
  put(etc + "/storefront", "hot fix");
  auto two = h.stage(release("1.1", "two")).release;
  auto forward = activate(h.host, h.forward("op-2", one, two));
  CHECK(forward.healthy);
  evidence(forward, "hot fix");
  CHECK(text_of(etc + "/storefront") == "two");
  h.confirm_op("op-2");
  put(etc + "/storefront", "another");
  auto back = activate(h.host, h.back("op-3", two, one));
  CHECK(back.healthy);
  evidence(back, "another");
  CHECK(text_of(etc + "/storefront") == "one");
  put(etc + "/storefront", "third");
  auto gone = activate(h.host, h.back("op-4", one, std::nullopt));
  CHECK(gone.healthy);
  evidence(gone, "third");
  CHECK(names_in(etc).empty());
}

TEST_CASE("secrets are masked in what is kept") {
  ActivationHost h;
  put(h.dir.mkdir("etc") + "/secret", "hunter2-hunter2\nabc\n");
  auto release = sleeper("1.0", "echo password hunter2-hunter2 abc; exit 1");
  release.manifest.spec.secrets = {"/etc/secret"};
  auto reply = activate(h.host, h.forward("op-1", std::nullopt, h.stage(release).release));
  CHECK(reply.log_tail == "started 1.0\npassword *** abc\n");
}

TEST_CASE("health_round and logs look and change nothing") {
  ActivationHost h;
  CHECK(health_round(h.host, h.ref()).detail == "nothing is deployed");
  h.deploy(sleeper("1.0"));
  auto records = h.kinds().size();
  auto good = health_round(h.host, h.ref());
  CHECK(good.healthy);
  CHECK(good.detail == "storefront@1.0: 0 health checks passed, the running process is this release");
  CHECK(service_logs(h.host, h.ref(), 10)[0].log == "started 1.0\n");
  signal_group(*h.service_pid(), SIGKILL);
  CHECK(h.wait_for([&] { return !h.service_pid(); }, Millis(2000)));
  auto bad = health_round(h.host, h.ref());
  CHECK(!bad.healthy);
  CHECK(bad.failed_step == "health");
  CHECK(bad.detail.find("service 'web' ended") == 0);
  CHECK(h.kinds().size() == records);
}
