// SIGKILL at every fsync and rename of the helper, forward and back: whatever the point, `current` names a release that verifies, the
// journal reads, and what comes next brings the host to the one state that the journal tells (promises 1, 2, 3, 6, 11). strace kills
// a call before it happens, so each point is also "everything before it, nothing from it on".
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <thread>

#include "core/base/process.hpp"
#include "core/base/wire.hpp"
#include "tests/host/activation_fixture.hpp"
#include "tests/support/campaign.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

constexpr const char* kCalls = "fsync,fdatasync,rename,renameat,renameat2,syncfs";

// One session under strace: the requests in order, each after the reply to the one before. True when it was killed.
bool killed_at(const ActivationHost& h, int point, const std::vector<json::object>& requests) {
  int to[2], from[2];
  if (::pipe2(to, O_CLOEXEC) != 0 || ::pipe2(from, O_CLOEXEC) != 0) throw Error("no pipes");
  std::string inject = std::string("inject=") + kCalls + ":signal=SIGKILL:when=" + std::to_string(point);
  std::string trace = std::string("trace=") + kCalls, program = h.host.program, root = h.dir.path();
  pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(to[0], 0);
    ::dup2(from[1], 1);
    ::execlp("strace", "strace", "-qq", "-o", "/dev/null", "-e", trace.c_str(), "-e", inject.c_str(), program.c_str(), "serve", "--root", root.c_str(), nullptr);
    ::_exit(127);
  }
  ::close(to[0]);
  ::close(from[1]);
  Fd in(to[1]), out(from[0]);
  std::string bytes = "RIPCORD 0123456789abcdef\n";
  (void)!::write(in.get(), bytes.data(), bytes.size());
  FrameReader reader;
  bool greeted = false;
  std::string heard;
  std::size_t sent = 0;
  auto send = [&] {
    if (sent == requests.size()) return in.reset();
    json::object o = requests[sent++];
    o["id"] = sent;
    std::string frame;
    append_frame(frame, FrameKind::control, json::serialize(o));
    (void)!::write(in.get(), frame.data(), frame.size());
  };
  for (Elapsed end = boot_now() + Millis(30000); boot_now() < end;) {
    pollfd p{out.get(), POLLIN, 0};
    if (::poll(&p, 1, 200) <= 0) continue;
    char buffer[8192];
    ssize_t n = ::read(out.get(), buffer, sizeof buffer);
    if (n <= 0) break;
    if (!greeted) {
      heard.append(buffer, static_cast<std::size_t>(n));
      auto line = heard.find('\n');
      if (line == heard.npos) continue;
      greeted = true;
      reader.feed(heard.substr(line + 1));
      send();
    } else {
      reader.feed({buffer, static_cast<std::size_t>(n)});
    }
    while (auto frame = reader.next())
      if (parse_json_object(frame->payload, "a frame").contains("ok")) send();
  }
  in.reset();
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

struct Findings {
  std::mutex mutex;
  std::vector<std::string> wrong;
  std::map<std::string, int> outcomes;
  void say(const std::string& what) {
    std::lock_guard lock(mutex);
    wrong.push_back(what);
  }
  void count(const std::string& outcome) {
    std::lock_guard lock(mutex);
    ++outcomes[outcome];
  }
};

// Promise 1, at this instant: `current` is one of them, and that tree and its placed file are whole.
void check_instant(ActivationHost& h, const std::string& point, const std::vector<ReleaseId>& may, Findings& out) {
  auto current = read_current(h.unit());
  if (std::find(may.begin(), may.end(), current.release) == may.end()) return out.say(point + ": current names '" + current.target + "'");
  if (!verify_release(h.unit(), require_release(h.unit(), *current.release), Verify::full).clean()) out.say(point + ": the current tree is not whole");
  try {
    Journal(h.unit()).records();
  } catch (const Error& e) {
    out.say(point + ": " + e.what());
  }
}

json::object request(std::string_view name, json::object o) {
  o["do"] = name;
  return o;
}

// Returns whether the session was killed.
bool forward_point(int point, Findings& out) {
  ActivationHost h;
  auto one = h.deploy(still("1.0"));
  auto two = h.stage(still("1.1")).release;
  auto at = "forward, point " + std::to_string(point);
  std::vector<json::object> requests;
  requests.push_back(request("activate", to_json(h.forward("op-2", one, two, 1500))));
  requests.push_back(request("confirm", {{"unit", "storefront"}, {"root", "/srv"}, {"op", "op-2"}, {"epoch", 1}, {"holder", "me"}}));
  bool killed = killed_at(h, point, requests);
  check_instant(h, at, {one, two}, out);
  recover(h.host);
  check_instant(h, at + ", recovered", {one, two}, out);
  if (!h.wait_for([&] { auto history = h.history(); const auto* op = history.find("op-2"); return !op || op->terminal(); }, Millis(12000)))
    out.say(at + ": the operation does not end");
  h.wait_for([&] { return h.nothing_left(); }, Millis(3000));
  auto phase = h.state("op-2").phase;
  bool kept = phase == OpPhase::confirmed;
  out.count(std::string("forward ") + std::string(to_text(phase)));
  if (phase == OpPhase::needs_operator) out.say(at + ": " + h.state("op-2").detail);
  if (h.current() != "releases/" + (kept ? two : one).folder()) out.say(at + ": it is " + std::string(to_text(phase)) + ", and current is " + h.current());
  if (text_of(h.dir / "etc/still.conf") != std::string("conf of ") + (kept ? "1.1" : "1.0")) out.say(at + ": the placed file is of the other release");
  if (!h.nothing_left()) out.say(at + ": something of the operation is left");
  int ends = 0;
  for (const auto& r : Journal(h.unit()).records())
    ends += get_string_or(r.body, "op", "") == "op-2" && (r.kind == "CONFIRMED" || r.kind == "REVERTED" || r.kind == "FAILED_UNCHANGED");
  if (ends > 1) out.say(at + ": more than one verdict");
  return killed;
}

bool back_point(int point, Findings& out) {
  ActivationHost h;
  auto one = h.deploy(still("1.0"));
  auto two = h.deploy(still("1.1"));
  auto at = "back, point " + std::to_string(point);
  std::vector<json::object> requests;
  requests.push_back(request("activate", to_json(h.back("back-1", two, one))));
  bool killed = killed_at(h, point, requests);
  check_instant(h, at, {one, two}, out);
  auto history = h.history();
  const auto* begun = history.find("back-1");
  recover(h.host);
  check_instant(h, at + ", recovered", {one, two}, out);
  out.count(std::string("back ") + std::string(to_text(begun ? h.state("back-1").phase : OpPhase::none)));
  // Pulled again by whoever comes next, from where it is now.
  auto again = activate(h.host, h.back("back-2", read_current(h.unit()).release, one));
  if (again.state.phase != OpPhase::confirmed) out.say(at + ": pulled again it is " + std::string(to_text(again.state.phase)) + ": " + again.state.detail);
  if (h.current() != "releases/" + one.folder()) out.say(at + ": current is " + h.current());
  if (text_of(h.dir / "etc/still.conf") != "conf of 1.0") out.say(at + ": the placed file is of the other release");
  if (!h.nothing_left()) out.say(at + ": something of the operation is left");
  return killed;
}

// Every point (a sample in the short run), four at a time, until a run was not killed: that was past the last one.
int campaign(bool (*point)(int, Findings&), Findings& out) {
  const int step = long_campaign() ? 1 : 5;
  std::atomic<int> next{1}, last{1 << 20}, killed{0};
  std::vector<std::thread> workers;
  for (int i = 0; i < 4; ++i)
    workers.emplace_back([&] {
      for (int n; (n = next.fetch_add(step)) < last && n < 500;) {
        try {
          if (point(n, out)) ++killed;
          else last = std::min(last.load(), n);
        } catch (const std::exception& e) {
          out.say("point " + std::to_string(n) + ": " + e.what());
        }
      }
    });
  for (auto& w : workers) w.join();
  return killed;
}

}  // namespace

TEST_CASE("killed at any fsync or rename, forward and back, a host ends where its journal says", "[points]") {
  if (run_process({.argv = {"strace", "-qq", "-o", "/dev/null", "/bin/true"}}, Millis(5000)).ok() == false) {
    WARN("skipped: strace cannot trace here");
    return;
  }
  Findings findings;
  int forward = campaign(forward_point, findings), back = campaign(back_point, findings);
  for (const auto& w : findings.wrong) FAIL_CHECK(w);
  std::string line = "kill points: " + std::to_string(forward) + " forward, " + std::to_string(back) + " back";
  for (const auto& [outcome, n] : findings.outcomes) line += "; " + std::to_string(n) + " " + outcome;
  INFO(line);
  CHECK(forward >= (long_campaign() ? 12 : 3));  // so many calls there are
  CHECK(back >= (long_campaign() ? 8 : 2));
  CHECK(findings.outcomes["forward reverted"] + findings.outcomes["forward failed_unchanged"] > 0);
  CHECK(findings.outcomes["forward confirmed"] > 0);
  total(line);
}
