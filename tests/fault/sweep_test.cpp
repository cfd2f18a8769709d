// A rollout over three hosts in which the n-th call that changes something is answered by SIGKILL or by an error, in the controller or in
// the helpers: whatever n is, nothing is claimed that is not so, and the run that is resumed ends where the undisturbed one would have
// (promises 2, 3, 4, 6, 11). RIPCORD_LONG tries every n.
#include <fmt/format.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <map>

#include "core/net/ledger.hpp"
#include "tests/support/campaign.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/faults.hpp"
#include "tests/support/local_run.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

bool skipped() {
  if (strace_works()) return false;
  WARN("skipped: needs strace, and a container in which it may trace");
  return true;
}

constexpr Millis kLongest{240000};  // T of this unit is 131 s
using Calls = std::vector<std::pair<std::string, int>>;

struct Scenario {
  int at_once = 3;      // hosts
  bool walked = false;  // each release's way back is rehearsed; else it is waived, which takes half the time
  std::string text() const { return fmt::format("{} at once, way back {}", at_once, walked ? "walked" : "waived"); }
};

struct Sweep {
  Scenario scenario;
  LocalRun fleet{3, scenario.at_once};
  TempDir logs;
  int release = 0;
  std::map<std::string, int> outcomes;   // what came of the disturbed runs
  std::map<std::string, int> left;       // where they left the hosts: "controller killed: some had switched", "helper killed: INTENT FAILED_UNCHANGED"

  std::string now() const { return fmt::format("{}.0", release); }
  std::vector<std::string> apply() const {
    std::vector<std::string> words{"apply", "app-" + now() + "/", "-y"};
    if (release > 1 && !scenario.walked) words.insert(words.end(), {"--unproven", fmt::format("{}.0", release - 1), "-m", "sweep"});
    return words;
  }
  std::vector<std::string> next() {
    ++release;
    fleet.write_unit(now());
    return apply();
  }
  void undisturbed() {
    auto run = fleet.ripcord(next());
    INFO(run.output);
    REQUIRE(run.exit == 0);
    REQUIRE(fleet.all_run(now()));
  }
  int on_new() const {
    int n = 0;
    for (const auto& host : fleet.names()) n += fleet.version(host) == now();
    return n;
  }
  std::string log(const char* what) const { return logs / fmt::format("{}-{}", what, release); }

  Command with_helper(Command c, const std::string& program) const {
    c.env->push_back("RIPCORD_HOST_PROGRAM=" + program);
    return c;
  }

  // What the journal tells of this release's first operation on a host: "INTENT ARMED FAILED_UNCHANGED"; "nothing".
  std::string story(const std::string& host) const {
    std::string op, out;
    for (const auto& record : fleet.journal(host)) {
      auto kind = get_string(record, "kind");
      const auto* to = find_object(record, "to");
      if (op.empty() && kind == "INTENT" && to && get_string(*to, "version") == now()) op = get_string(record, "op");
      if (!op.empty() && get_string_or(record, "op", "") == op) out += (out.empty() ? "" : " ") + kind;
    }
    return out.empty() ? "nothing" : out;
  }
  void note_left(const std::string& who) {
    if (who == "controller killed") ++left[fmt::format("{}: {} had switched", who, on_new() == 0 ? "nobody" : on_new() == 3 ? "all" : "some")];
    else
      for (const auto& host : fleet.names()) ++left[who + ": " + story(host)];
  }
  void require_left(const std::vector<std::string>& classes) {
    for (const auto& wanted : classes) {
      INFO("never seen: " << wanted);
      CHECK(left[wanted] > 0);
    }
  }

  // What the disturbed run said, against what is so; then on to the end without faults.
  void settle(const std::string& what, const RunResult& run, int hit) {
    INFO(what << ": " << run.text() << ", " << hit << " calls hit\n" << run.output);
    const bool killed = run.exit < 0 || run.exit == 137;
    CHECK_FALSE(run.timed_out);
    if (!killed) {
      if (run.exit == 0) CHECK(on_new() == 3);
      if (run.exit == 3) CHECK(on_new() == 0);
    }
    ++outcomes[hit == 0 ? "nothing hit" : killed ? "killed" : run.exit == 0 ? "finished all the same" : run.exit == 3 ? "went back" : fmt::format("exit {}", run.exit)];
    std::string said;
    for (int again = 0; again < 5; ++again) {
      auto status = fleet.ripcord({"status", "app", "-o", "json"});
      bool ours = status.output.find("\"version\":\"" + now() + "\"") != status.output.npos;
      if (ours && status.exit == 0) break;
      bool open = ours && status.output.find("\"outcome\":\"open\"") != status.output.npos;
      auto on = open ? fleet.ripcord({again % 2 == 0 ? "resume" : "retry", "app"})  // retry: hosts that were lost with their helper
                     : fleet.ripcord(apply());
      said += on.output;
      if (on.exit == 0) break;
    }
    INFO(said);
    CHECK(fleet.all_run(now()));
    CHECK(fleet.most_activated() == "");
    for (const auto& host : fleet.names()) {
      std::map<std::string, int> ended;
      for (const auto& record : fleet.journal(host)) {
        auto kind = get_string(record, "kind");
        if (kind == "CONFIRMED" || kind == "REVERTED" || kind == "FAILED_UNCHANGED" || kind == "NEEDS_OPERATOR") ++ended[get_string(record, "op")];
      }
      for (const auto& [op, n] : ended) CHECK(n == 1);
    }
    auto ledger = open_sqlite_ledger(fleet.folder() + "/.ripcord/ledger.db");
    CHECK_FALSE(find_broken_link(ledger->read(0, 1000000), Digest{}));
  }

  Calls controller(Injection injection, const char* what) {
    auto words = next();
    auto run = run_process(traced_controller(fleet.command(words), injection, log(what)), kLongest, 1 << 20);
    auto calls = calls_made(log(what));
    if (injection.at > 0 && injection.error.empty() && injected(log(what)) > 0) note_left("controller killed");
    if (injection.at > 0) settle(fmt::format("controller, {} at {} {}", injection.error.empty() ? "SIGKILL" : injection.error, injection.calls, injection.at), run, injected(log(what)));
    return calls;
  }
  Calls helper(Injection injection, const std::string& hosts, const char* what) {
    auto words = next();
    TempDir folder;
    auto program = traced_helper(folder, injection, hosts, log(what));
    auto run = run_process(with_helper(fleet.command(words), program), kLongest, 1 << 20);
    auto calls = calls_made(log(what));
    if (injection.at > 0 && injection.error.empty() && hosts.empty() && injected(log(what)) > 0) note_left("helper killed");
    if (injection.at > 0) settle(fmt::format("helper on '{}', {} at {} {}{}", hosts, injection.error.empty() ? "SIGKILL" : injection.error, injection.calls, injection.at, injection.for_good ? " and later" : ""), run, injected(log(what)));
    return calls;
  }
  // For the record: what was tried and what came of it.
  void tell(const std::string& what) const {
    auto line = fmt::format("{}: {} releases", what, release);
    for (const auto& [outcome, n] : outcomes) line += fmt::format("; {} {}", n, outcome);
    for (const auto& [where, n] : left) line += fmt::format("; {} {}", n, where);
    total(line);
    UNSCOPED_INFO(line);
  }
};

// `count` of these calls, from all over the list; all of them in a long campaign.
Calls points(const Calls& all, std::size_t count) {
  if (long_campaign()) return all;
  Calls out;
  for (std::size_t i = 0; i < count; ++i) out.push_back(all[(2 * i + 1) * all.size() / (2 * count)]);
  return out;
}

Injection untouched() {
  Injection i;
  i.at = 0;
  return i;
}

Injection kill_at(const std::pair<std::string, int>& call) {
  Injection i;
  i.calls = call.first;
  i.at = call.second;
  return i;
}

}  // namespace

TEST_CASE("kill sweep: SIGKILL at the n-th change of the controller", "[sweep]") {
  if (skipped()) return;
  // One host after the other: most moments lie between two of them. All at once: between two entries of a host.
  for (const auto& scenario : long_campaign() ? std::vector<Scenario>{{1, false}, {3, false}, {1, true}} : std::vector<Scenario>{{1, false}}) {
    Sweep s{scenario};
    s.undisturbed();
    auto calls = s.controller(untouched(), "count");
    INFO(scenario.text() << ": the controller makes " << calls.size() << " changes");
    REQUIRE(calls.size() > 20);
    for (const auto& call : points(calls, 4)) s.controller(kill_at(call), "kill");
    s.tell(fmt::format("kill sweep over {} changes of the controller, {}", calls.size(), scenario.text()));
    CHECK(s.outcomes["killed"] >= 3);
    if (!long_campaign()) continue;
    s.require_left({"controller killed: nobody had switched", "controller killed: all had switched"});
    if (scenario.at_once == 1) s.require_left({"controller killed: some had switched"});
  }
}

TEST_CASE("kill sweep: SIGKILL at the n-th change of the helpers of all hosts and of one", "[sweep]") {
  if (skipped()) return;
  for (const auto& scenario : long_campaign() ? std::vector<Scenario>{{3, false}, {3, true}} : std::vector<Scenario>{{3, false}}) {
    Sweep s{scenario};
    s.undisturbed();
    auto calls = s.helper(untouched(), "", "count-h");
    INFO(scenario.text() << ": a helper makes " << calls.size() << " changes");
    REQUIRE(calls.size() > 20);
    for (const auto& call : points(calls, 3)) s.helper(kill_at(call), "", "kill-h");
    for (const auto& call : points(calls, 2)) s.helper(kill_at(call), "n-002", "kill-one");
    s.tell(fmt::format("kill sweep over {} changes of a helper, {}", calls.size(), scenario.text()));
    CHECK(s.outcomes["finished all the same"] + s.outcomes["went back"] + s.outcomes["exit 4"] + s.outcomes["exit 6"] > 0);
    if (long_campaign() && !scenario.walked)
      s.require_left({"helper killed: INTENT ARMED ACTIVATED CONFIRMED", "helper killed: INTENT ARMED FAILED_UNCHANGED", "helper killed: INTENT FAILED_UNCHANGED"});
  }
}

TEST_CASE("kill sweep: SIGKILL in the recovery, of the controller and of the helpers", "[sweep]") {
  if (skipped()) return;
  Sweep s;
  s.undisturbed();
  s.undisturbed();
  // Killed in the middle of an apply, and then again and again in the middle of resuming it.
  auto words = s.next();
  RunResult last = run_process(traced_controller(s.fleet.command(words), {.at = 30, .calls = "fsync,fdatasync"}, s.log("first")), Millis(90000), 1 << 20);
  int hits = injected(s.log("first"));
  for (int n : long_campaign() ? std::vector<int>{1, 2, 3, 5, 8, 13, 21, 34} : std::vector<int>{2, 6}) {
    auto log = s.log(fmt::format("again-{}", n).c_str());
    last = run_process(traced_controller(s.fleet.command({"resume", "app"}), {.at = n, .calls = "fsync,fdatasync"}, log), Millis(90000), 1 << 20);
    hits += injected(log);
  }
  s.settle("killed while it recovered", last, hits);
  // The controller killed, and then the helpers of the run that resumes.
  int cut = 0;
  for (const char* call : {"fsync", "pwrite64", "unlink", "rename"})
    for (int n : long_campaign() ? std::vector<int>{1, 2, 3, 4, 6, 9} : std::vector<int>{2}) {
      if (!long_campaign() && call != std::string("fsync")) continue;
      run_process(traced_controller(s.fleet.command(s.next()), {.at = 24 + 4 * (cut++ % 6), .calls = "fdatasync"}, s.log("cut")), Millis(90000), 1 << 20);
      TempDir folder;
      auto program = traced_helper(folder, kill_at({call, n}), "", s.log("recover-h"));
      auto run = run_process(s.with_helper(s.fleet.command({"resume", "app"}), program), kLongest, 1 << 20);
      const int hit = injected(s.log("recover-h"));
      if (hit > 0) s.note_left("helper killed in the recovery");
      s.settle(fmt::format("helpers killed at {} {} while a killed run was resumed", call, n), run, hit);
    }
  s.tell("kill sweep of recoveries");
  CHECK(hits >= 2);
  if (long_campaign()) s.require_left({"helper killed in the recovery: INTENT ARMED ACTIVATED CONFIRMED"});
}

TEST_CASE("errno loops: no space, a broken disk, a read-only one, no descriptors, once and for good", "[sweep]") {
  if (skipped()) return;
  Sweep s;
  s.undisturbed();
  struct Kind {
    const char* error;
    const char* calls;
  };
  const std::string changes = Injection().calls;
  const std::vector<Kind> kinds{{"ENOSPC", "fsync,pwrite64,mkdir,mkdirat,rename,renameat,renameat2,symlinkat,fallocate"},
                                {"EIO", "fsync,fdatasync,syncfs,pread64,pwrite64"},
                                {"EROFS", "mkdir,mkdirat,rename,renameat,renameat2,symlinkat,unlinkat,fchmod,fchown"},
                                {"EMFILE", "openat,openat2,socket,pipe2,dup3"}};
  int i = 0;
  for (const auto& kind : kinds)
    for (bool for_good : {false, true}) {
      ++i;
      for (int n : long_campaign() ? std::vector<int>{1, 2, 3, 5, 8, 13, 21, 34, 55} : std::vector<int>{for_good ? 1 : 2 + 3 * (i % 3)}) {
        if (long_campaign() || for_good == (i % 4 != 1)) s.helper({.at = n, .for_good = for_good, .error = kind.error, .calls = kind.calls}, "", kind.error);
        if (long_campaign() || (!for_good && i % 4 == 3)) s.controller({.at = n, .for_good = for_good, .error = kind.error, .calls = kind.calls}, kind.error);
      }
    }
  s.tell("errno loops");
  CHECK(s.outcomes["nothing hit"] * 2 < s.release);
  int failed = 0;
  for (const auto& [outcome, n] : s.outcomes) failed += outcome.starts_with("exit") || outcome == "went back" ? n : 0;
  CHECK(failed >= 2);
  if (long_campaign())
    for (const char* wanted : {"finished all the same", "went back", "exit 1", "nothing hit"}) {
      INFO("never seen: " << wanted);
      CHECK(s.outcomes[wanted] > 0);
    }
}

TEST_CASE("a controller that stood still while another took over does nothing when it goes on") {
  LocalRun fleet(3, 1, Millis(700));
  fleet.write_unit("1.0");
  auto first = fleet.start({"apply", "app-1.0/", "-y"}, "apply.log");
  REQUIRE(eventually([&] { return fleet.count("ACTIVATED") >= 1; }));
  ::kill(first.pid, SIGSTOP);
  // Long: until its lease has run out by itself. Before that nobody goes on without saying so.
  if (long_campaign()) {
    auto held = fleet.ripcord({"resume", "app"});
    INFO(held.output);
    CHECK(held.exit == 7);
    CHECK(held.output.find("it is running: ana on ") != held.output.npos);
    ::sleep(32);
  }
  auto second = fleet.ripcord(long_campaign() ? std::vector<std::string>{"resume", "app"} : std::vector<std::string>{"resume", "app", "--take-over"});
  INFO(second.output);
  CHECK(second.exit == 0);
  auto entries = open_sqlite_ledger(fleet.folder() + "/.ripcord/ledger.db")->size();
  int records = fleet.count("INTENT") + fleet.count("ACTIVATED") + fleet.count("CONFIRMED");
  ::kill(first.pid, SIGCONT);
  auto end = LocalRun::wait(first, Millis(30000));
  INFO(fleet.output("apply.log"));
  CHECK(end.exit == 7);
  CHECK(open_sqlite_ledger(fleet.folder() + "/.ripcord/ledger.db")->size() == entries);
  CHECK(fleet.count("INTENT") + fleet.count("ACTIVATED") + fleet.count("CONFIRMED") == records);
  CHECK(fleet.most_activated() == "");
  CHECK(fleet.all_run("1.0"));
}
