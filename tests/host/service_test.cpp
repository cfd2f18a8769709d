#include "manifests/host/service.hpp"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/process.hpp"
#include "manifests/host/slot_file.hpp"
#include "tests/host/activation_fixture.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;
using namespace ripcord::test;

TEST_CASE("a service that ignores SIGTERM is killed after its stop deadline, with its children") {
  ActivationHost h;
  auto stubborn = sleeper("1.0", "trap '' TERM; sleep 1000 & echo child $!; while :; do sleep 1; done");
  stubborn.manifest.spec.services[0].stop_deadline = Millis(300);
  auto one = h.deploy(stubborn);
  auto pid = *h.service_pid();
  CHECK(h.wait_for([&] { return h.log().find("child ") != std::string::npos; }, Millis(2000)));
  pid_t child = std::stoi(h.log().substr(h.log().find("child ") + 6));
  auto reply = activate(h.host, h.back("op-2", one, std::nullopt));
  INFO(reply.output);
  CHECK(reply.healthy);
  CHECK(!process_id(pid));
  CHECK(!process_id(child));
}

TEST_CASE("children that outlive the main process are the service's") {
  ActivationHost h;
  auto one = h.deploy(sleeper("1.0", "sleep 1000 & echo child $!; wait"));
  CHECK(h.wait_for([&] { return h.log().find("child ") != std::string::npos; }, Millis(2000)));
  pid_t child = std::stoi(h.log().substr(h.log().find("child ") + 6));
  ::kill(*h.service_pid(), SIGKILL);
  activate(h.host, h.back("op-2", one, std::nullopt));
  CHECK(!process_id(child));
}

TEST_CASE("a run: service has its own session, folder, environment and log") {
  ActivationHost h;
  auto release = sleeper("1.0", "pwd; echo $RIPCORD_UNIT $RIPCORD_HOST $RIPCORD_LABEL_datacenter $RIPCORD_CURRENT; umask; env | wc -l; "
                                "ls /proc/self/fd | wc -l; exec sleep 1000");
  auto one = h.deploy(release);
  auto pid = *h.service_pid();
  CHECK(::getsid(pid) == pid);
  CHECK(h.wait_for([&] { return split(h.log(), '\n').size() >= 6; }, Millis(2000)));
  auto lines = split(h.log(), '\n');
  CHECK(lines[1] == h.unit().release(one.folder()));
  CHECK(lines[2] == "storefront web-01 ams " + h.unit().current);
  CHECK(lines[3] == "0022");
  CHECK(std::stoi(lines[4]) < 20);
  CHECK(std::stoi(lines[5]) <= 4);
  CHECK(read_link("/proc/" + std::to_string(pid) + "/fd/0") == "/dev/null");
}

TEST_CASE("a run: service becomes the unit's owner when we are root") {
  if (::geteuid() != 0 || !run_process({.argv = {"getent", "passwd", "nobody"}}, Millis(5000)).ok()) {
    SUCCEED("needs root and a user 'nobody'");
    return;
  }
  ActivationHost h;
  ::chmod(h.dir.path().c_str(), 0755);
  auto release = sleeper("1.0", "id -un; echo $HOME; exec sleep 1000");
  release.manifest.spec.owner = "nobody";
  auto one = h.deploy(release);
  struct stat st {};
  REQUIRE(::stat(("/proc/" + std::to_string(*h.service_pid())).c_str(), &st) == 0);
  CHECK(st.st_uid != 0);
  CHECK(h.wait_for([&] { return h.log().find("\nnobody\n") != std::string::npos; }, Millis(2000)));
}

TEST_CASE("a change of config only reloads, or leaves alone, where the unit says so") {
  ActivationHost h;
  std::string note = h.dir / "note";
  auto release = [&](const std::string& version, const std::string& on_change, const std::string& color, const std::string& code = "") {
    auto r = sleeper(version, code.empty() ? "exec sleep 1000" : code);
    r.file("config/common/app.conf", "color = " + color + "\n");
    r.manifest.spec.services[0].on_config_change = on_change;
    r.manifest.spec.services[0].reload = Action{{"/bin/sh", "-c", "echo reloaded ${version} >> " + note}};
    return r;
  };
  std::string how = GENERATE(as<std::string>{}, "reload", "none");
  h.deploy(release("1.0", how, "red"));
  auto pid = h.service_pid();
  h.deploy(release("1.1", how, "blue"));
  CHECK(h.service_pid() == pid);
  CHECK(text_of(note) == (how == "reload" ? "reloaded 1.1\n" : ""));
  CHECK(health_round(h.host, h.ref()).healthy);
  h.deploy(release("1.2", how, "blue", "echo other; exec sleep 1000"));  // code differs: restarted
  CHECK(h.service_pid() != pid);
  CHECK(!process_id(*pid));
}

TEST_CASE("services that come and go with a release") {
  ActivationHost h;
  auto two_services = sleeper("1.0");
  Service second = two_services.manifest.spec.services[0];
  second.name = "worker";
  two_services.manifest.spec.services.push_back(second);
  h.deploy(two_services);
  auto worker = *h.service_pid("worker");
  h.deploy(sleeper("1.1"));
  CHECK(!process_id(worker));
  CHECK(h.service_pid("web"));
  auto three = sleeper("1.2");
  three.manifest.spec.services.push_back(second);
  h.deploy(three);
  CHECK(h.service_pid("worker"));
}

TEST_CASE("actions run in the release folder, the running release's stop and the coming one's start") {
  ActivationHost h;
  std::string note = h.dir / "note";
  auto release = [&](const std::string& version) {
    auto r = sleeper(version);
    r.file("code/ctl", "#!/bin/sh\necho $1 " + version + " $(basename $PWD) >> " + note + "\n", 0755);
    Service s;
    s.name = "web";
    s.start = Action{{"./ctl", "start"}};
    s.stop = Action{{"ctl", "stop"}};  // lies in the release: no PATH is searched
    r.manifest.spec.services = {s};
    r.manifest.spec.running.by = Running::By::none;
    return r;
  };
  auto one = h.deploy(release("1.0"));
  auto two = h.deploy(release("1.1"));
  CHECK(text_of(note) == "start 1.0 " + one.folder() + "\nstop 1.0 " + one.folder() + "\nstart 1.1 " + two.folder() + "\n");
  activate(h.host, h.back("op-3", two, one));
  CHECK(text_of(note).find("stop 1.1 " + two.folder() + "\nstart 1.0 " + one.folder() + "\n") != std::string::npos);
}

TEST_CASE("a systemd service on a host without systemd fails in words") {
  if (exists("/bin/systemctl") || exists("/usr/bin/systemctl")) {
    SUCCEED("a real systemctl is here; what it says is its own affair");
    return;
  }
  ActivationHost h;
  auto release = sleeper("1.0");
  release.manifest.spec.services[0].run.clear();
  release.manifest.spec.services[0].systemd = "web@${role}.service";
  auto reply = activate(h.host, h.forward("op-1", std::nullopt, h.stage(release).release));
  CHECK(reply.failed_step == "restart");
  CHECK(reply.output.find("cannot start 'systemctl': it is not in PATH") == 0);
}

TEST_CASE("a slot is written in place, and a damaged one is none") {
  TempDir dir;
  std::string slot = dir / "slot";
  CHECK(!read_slot(slot));
  reserve_slot(slot);
  CHECK(!read_slot(slot));
  struct stat before {};
  ::stat(slot.c_str(), &before);
  write_slot(slot, {{"pid", 7}});
  struct stat after {};
  ::stat(slot.c_str(), &after);
  CHECK(after.st_ino == before.st_ino);
  CHECK(after.st_size == before.st_size);
  CHECK(get_int(*read_slot(slot), "pid") == 7);
  write_slot(slot, {{"name", std::string(300, 'x')}});
  write_slot(slot, {{"pid", 8}});
  CHECK(get_int(*read_slot(slot), "pid") == 8);
  put(slot, "{\"pid\": 9");
  CHECK(!read_slot(slot));
  CHECK_THROWS_AS(write_slot(slot, {{"name", std::string(600, 'x')}}), Error);
}
