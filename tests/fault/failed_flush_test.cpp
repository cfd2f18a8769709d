// A flush that fails: nobody knows what the disk holds, so what it was to make durable is not read as if it were, and is not written a
// second time beside itself (INVARIANTS, "fsync failed"; promises 3, 4, 6).
#include <fmt/format.h>

#include <map>

#include "core/base/process.hpp"
#include "manifests/host/deadman.hpp"
#include "tests/fault/power_scene.hpp"
#include "tests/support/campaign.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/faults.hpp"
#include "tests/support/step_trace.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

constexpr const char* kProgram = RIPCORD_BUILD_DIR "/ripcord-host";

bool skipped() {
  if (strace_works() && step_trace_works()) return false;
  WARN("skipped: needs strace, and a container in which it may trace");
  return true;
}

// `when`: which of its fsyncs fail, as strace says it: "3", "2..5".
RunResult with_failing_fsync(const std::string& error, const std::string& when, std::vector<std::string> argv, const std::string& input = "") {
  std::vector<std::string> words{"/usr/bin/strace", "-qq", "-o", "/dev/null", "-e", "trace=fsync", "-e", "inject=fsync:error=" + error + ":when=" + when};
  words.insert(words.end(), argv.begin(), argv.end());
  return run_process({.argv = words, .input = input}, Millis(30000), 1 << 20);
}

int verdicts(const ActivationHost& h, const std::string& op) {
  int n = 0;
  for (const auto& r : Journal(h.unit()).records())
    n += get_string_or(r.body, "op", "") == op && (r.kind == "CONFIRMED" || r.kind == "REVERTED" || r.kind == "FAILED_UNCHANGED" || r.kind == "NEEDS_OPERATOR");
  return n;
}

// Which of a session's fsyncs is the one of this record; 0: none.
int fsync_of(const std::string& record, const Script& script, ActivationHost& h) {
  int n = 0, found = 0;
  bool written = false;
  step_trace({kProgram, "serve", "--root", h.dir.path()}, script.input, {"fsync", "pwrite64"}, Millis(30000), [&](const CallStop& stop) {
    if (!stop.before) return;
    if (stop.call == "pwrite64") written = stop.text(1).find("\"kind\":\"" + record + "\"") != std::string::npos;
    else if (++n; written && found == 0) found = n;
  });
  if (auto pending = read_pending(h.unit())) disarm(h.host, *pending);
  return found;
}

}  // namespace

TEST_CASE("the disk refuses flushes for a while, in the middle of the way back: one verdict, and the next helper ends it", "[flush]") {
  if (skipped()) return;
  std::map<int, int> ended;
  for (int first : long_campaign() ? std::vector<int>{1, 2, 3, 4, 5, 6, 7, 8} : std::vector<int>{3, 4}) {
    ActivationHost h;
    auto script = prepare(Scene::revert, h);
    h.host.boot_id = "another";  // for what is asked here; the program has the real one, and a deadline that has not come
    auto pending = *read_pending(h.unit());
    pending.deadline = boot_now();
    write_pending(h.unit(), pending);
    auto disturbed = with_failing_fsync("ENOSPC", fmt::format("{}..{}", first, first + 3), {kProgram, "recover", "--root", h.dir.path()});
    INFO("from fsync " << first << " on: " << disturbed.output);
    CHECK_FALSE(disturbed.timed_out);
    CHECK(verdicts(h, script.op) <= 1);
    ++ended[verdicts(h, script.op)];
    auto after = run_process({.argv = {kProgram, "recover", "--root", h.dir.path()}}, Millis(30000));
    INFO(after.output);
    CHECK(verdicts(h, script.op) == 1);
    CHECK(h.state(script.op).phase == OpPhase::reverted);
    CHECK(h.current() == "releases/" + script.from->folder());
  }
  CHECK(ended[0] + ended[1] > 0);
}

TEST_CASE("a confirmation whose flush fails is none: the host says so, and goes back", "[flush]") {
  if (skipped()) return;
  int of_confirmed = 0;
  {
    ActivationHost h;
    auto script = prepare(Scene::upgrade, h);
    of_confirmed = fsync_of("CONFIRMED", script, h);
    REQUIRE(h.state(script.op).phase == OpPhase::confirmed);
  }
  REQUIRE(of_confirmed > 10);
  for (const char* error : {"EIO", "ENOSPC"}) {
    ActivationHost h;
    auto script = prepare(Scene::upgrade, h);
    auto session = with_failing_fsync(error, std::to_string(of_confirmed), {kProgram, "serve", "--root", h.dir.path()}, script.input);
    bool said = false, refused = false;
    for (const auto& frame : frames_in(session.output)) {
      said = said || get_string_or(frame, "phase", "") == "confirmed";
      refused = refused || frame.contains("error");
    }
    INFO(error << ": " << session.output.size() << " bytes");
    CHECK_FALSE(said);
    CHECK(refused);
    // Also who asks later is not told what nobody knows.
    CHECK(h.state(script.op).phase == OpPhase::activated);
    CHECK(verdicts(h, script.op) == 0);
    CHECK(h.confirm_op(script.op).phase == OpPhase::confirmed);  // asked once more, it is
    CHECK(verdicts(h, script.op) == 1);
  }
}
