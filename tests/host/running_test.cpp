#include "manifests/host/running.hpp"

#include <signal.h>
#include <unistd.h>

#include "core/base/process.hpp"
#include "manifests/host/service.hpp"
#include "tests/host/activation_fixture.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

ReleaseContext context(ActivationHost& h, const ReleaseId& id) { return ReleaseContext::load(h.host, h.unit(), id, h.history()); }

std::string why(const ReleaseContext& release, const RunningRule& rule) {
  auto r = check_running(release, rule);
  return r.ok ? "" : r.step + "|" + r.output;
}

struct Stray {  // a process of its own, ended with the test
  Stray(const std::string& program, const std::string& cwd) {
    id = start_detached({.argv = {program, "1000"}, .cwd = cwd}, "");
  }
  ~Stray() {
    ::kill(id.pid, SIGKILL);
    for (int i = 0; i < 200 && !reap(id.pid); ++i) ::usleep(1000);
  }
  ProcessId id;
};

std::string sleep_program() { return exists("/usr/bin/sleep") ? "/usr/bin/sleep" : "/bin/sleep"; }

}  // namespace

TEST_CASE("a service's process lies in this release by its folder, and started after the switch") {
  ActivationHost h;
  auto one = h.deploy(sleeper("1.0"));
  auto c = context(h, one);
  CHECK(why(c, {}).empty());
  auto pid = std::to_string(*h.service_pid());
  CHECK(why(c, {process_start_now() + 1000, true}) ==
        "running|process " + pid + " of service 'web' started before the switch: it was not restarted");
  CHECK(why(c, {process_start_now() + 1000, false}).empty());  // only reloaded: it may be older
  auto two = h.stage(sleeper("1.1")).release;
  CHECK(why(context(h, two), {}) ==
        "running|process " + pid + " of service 'web' runs from '" + one.folder() + "', not from '" + two.folder() + "'");
}

TEST_CASE("a service without a process, and one that lies elsewhere") {
  ActivationHost h;
  auto release = sleeper("1.0");
  release.manifest.spec.services[0].run.clear();
  release.manifest.spec.services[0].start = release.manifest.spec.services[0].stop = Action{{"/bin/true"}};
  release.manifest.spec.services[0].pidfile = "/web.pid";
  auto id = h.stage(release).release;
  auto c = context(h, id);
  CHECK(why(c, {}) == "running|service 'web' has no running process");
  Stray stray(sleep_program(), "/");
  put(h.dir / "web.pid", std::to_string(stray.id.pid));
  auto exe = read_link("/proc/" + std::to_string(stray.id.pid) + "/exe").value_or("");
  CHECK(why(c, {}) == "running|process " + std::to_string(stray.id.pid) + " of service 'web' does not run from '" + id.folder() +
                          "': its executable is '" + exe + "', its folder '/', and it has no file of the release mapped");
}

TEST_CASE("processes that still run from another release are named") {
  ActivationHost h;
  auto one = h.stage(sleeper("1.0")).release;
  auto two = h.deploy(sleeper("1.1"));
  auto c = context(h, two);
  CHECK(why(c, {}).empty());
  Stray stray(sleep_program(), h.unit().release(one.folder()));
  CHECK(why(c, {}) == "running|process " + std::to_string(stray.id.pid) + " still runs from '" + one.folder() + "' (its cwd is '" +
                          h.unit().release(one.folder()) + "')");
  CHECK(why(c, {0, false}).empty());
  auto found = unit_processes(h.unit());
  CHECK(std::any_of(found.begin(), found.end(), [&](const UnitProcess& p) { return p.pid == stray.id.pid && p.by == "cwd"; }));
}

TEST_CASE("a service whose process nobody names is found by its executable") {
  ActivationHost h;
  auto release = sleeper("1.0");
  release.file("code/bin/sleeper", read_file(sleep_program()), 0755);
  release.manifest.spec.services[0].run.clear();
  release.manifest.spec.services[0].start = release.manifest.spec.services[0].stop = Action{{"/bin/true"}};
  auto id = h.stage(release).release;
  auto c = context(h, id);
  CHECK(why(c, {}) == "running|no process of service 'web' runs from '" + id.folder() + "' since the switch");
  Stray stray(c.folder + "/bin/sleeper", "/");
  CHECK(why(c, {}).empty());
  CHECK(why(c, {process_start_now() + 1000, true}) == "running|no process of service 'web' runs from '" + id.folder() + "' since the switch");

  SECTION("or by the digest of its executable, wherever it lies") {
    c.spec.running.by = Running::By::exe_digest;
    c.spec.running.exe = "bin/sleeper";
    CHECK(why(c, {}).empty());
    c.spec.running.exe = "bin/serve";
    CHECK(why(c, {}) == "running|no process executes the content of 'bin/serve' since the switch");
    c.spec.running.exe = "bin/none";
    CHECK(why(c, {}) == "running|'bin/none' is no file of the release, so no process can be compared with it");
  }
}

TEST_CASE("an executable of another release is not excused by its folder") {
  ActivationHost h;
  auto old = sleeper("1.0");
  old.file("code/bin/sleeper", read_file(sleep_program()), 0755);
  auto one = h.stage(old).release;
  auto release = sleeper("1.1");
  release.manifest.spec.services[0].run.clear();
  release.manifest.spec.services[0].start = release.manifest.spec.services[0].stop = Action{{"/bin/true"}};
  release.manifest.spec.services[0].pidfile = "/web.pid";
  auto two = h.stage(release).release;
  auto c = context(h, two);
  Stray stray(h.unit().release(one.folder()) + "/bin/sleeper", c.folder);
  put(h.dir / "web.pid", std::to_string(stray.id.pid));
  CHECK(why(c, {}) == "running|process " + std::to_string(stray.id.pid) + " of service 'web' runs '" + h.unit().release(one.folder()) +
                          "/bin/sleeper', which lies in another release");
}

TEST_CASE("no services, or running: none, is not looked at") {
  ActivationHost h;
  auto release = sleeper("1.0");
  release.manifest.spec.services.clear();
  auto id = h.stage(release).release;
  CHECK(why(context(h, id), {}).empty());
  auto other = sleeper("1.1");
  other.manifest.spec.running.by = Running::By::none;
  CHECK(why(context(h, h.stage(other).release), {}).empty());
}
