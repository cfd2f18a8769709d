#include "core/base/process.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "core/base/clock.hpp"
#include "core/base/error.hpp"
#include "core/base/files.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;

namespace {

struct Folder {
  std::string path;
  Folder() {
    char name[] = "/tmp/ripcord-process-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~Folder() { run_process({.argv = {"rm", "-rf", path}}, Millis(10000)); }
};

Command sh(const std::string& script) { return {.argv = {"/bin/sh", "-c", script}}; }

template <class F>
std::string message_of(F f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

bool wait_for(const std::function<bool()>& test, Millis limit = Millis(3000)) {
  Elapsed end = boot_now() + limit;
  while (boot_now() < end) {
    if (test()) return true;
    ::usleep(5000);
  }
  return test();
}

}  // namespace

TEST_CASE("a program's output and exit status come back") {
  auto r = run_process(sh("echo out; echo err >&2; exit 3"), Millis(5000));
  CHECK(r.output == "out\nerr\n");
  CHECK(r.exit == 3);
  CHECK(!r.ok());
  CHECK(r.text() == "exit status 3");
  CHECK(!r.truncated);
  auto killed = run_process(sh("kill -SEGV $$"), Millis(5000));
  CHECK(killed.exit == -1);
  CHECK(killed.text() == "killed by SIGSEGV");
}

TEST_CASE("arguments are passed as they are") {
  auto r = run_process({.argv = {"printf", "%s|", "a b", "$(id)", "';", "\n"}}, Millis(5000));
  CHECK(r.output == "a b|$(id)|';|\n|");
}

TEST_CASE("only the last bytes of much output are kept") {
  auto r = run_process(sh("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done"), Millis(20000), 100);
  CHECK(r.exit == 0);
  CHECK(r.truncated);
  CHECK(r.output.size() == 100);
  CHECK(r.output.substr(r.output.size() - 11) == "line 19999\n");
}

TEST_CASE("input, folder and environment are what was asked for") {
  Folder f;
  auto r = run_process({.argv = {"/bin/sh", "-c", "pwd; env | sort | head -1; cat"}, .cwd = f.path, .env = {{"AAA=1"}}, .input = "given"},
                       Millis(5000));
  CHECK(r.output == f.path + "\nAAA=1\ngiven");
  CHECK(run_process({.argv = {"cat"}}, Millis(5000)).output.empty());
}

TEST_CASE("a program that cannot be started is an error that says why") {
  CHECK(message_of([] { run_process({.argv = {"/no/such/program"}}, Millis(1000)); }) ==
        "cannot execute '/no/such/program': No such file or directory (ENOENT)");
  CHECK(message_of([] { run_process({.argv = {"no-such-program"}, .env = {{"PATH=/bin"}}}, Millis(1000)); }) ==
        "cannot start 'no-such-program': it is not in PATH (/bin)");
  CHECK(message_of([] { run_process({.argv = {"true"}, .cwd = "/no/folder"}, Millis(1000)); }) ==
        "cannot start 'true': its folder '/no/folder': No such file or directory (ENOENT)");
  CHECK(message_of([] { run_process({}, Millis(1000)); }) == "cannot start a program: its name is empty");
}

TEST_CASE("at the deadline a program is killed with its children, also those that left its group") {
  Folder f;
  Elapsed begin = boot_now();
  // bash with job control gives each job its own group
  Command c = sh("set -m; sleep 60 & echo $! > " + f.path + "/a; sleep 61 & echo $! > " + f.path + "/b; echo said; wait");
  c.argv[0] = "/bin/bash";
  auto r = run_process(c, Millis(400));
  CHECK(boot_now() - begin < Millis(3000));
  CHECK(r.timed_out);
  CHECK(r.output == "said\n");
  CHECK(r.text() == "did not end in time and was killed");
  for (const char* name : {"/a", "/b"}) {
    pid_t pid = std::stoi(read_file(f.path + name));
    CHECK(wait_for([&] { return !process_id(pid); }));
  }
}

TEST_CASE("a program that ignores SIGTERM and never stops writing ends at its deadline") {
  auto r = run_process(sh("trap '' TERM; while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyy; done"), Millis(300), 50);
  CHECK(r.timed_out);
  CHECK(r.output.size() == 50);
}

TEST_CASE("a daemon that keeps the output open is not waited for") {
  Folder f;
  Elapsed begin = boot_now();
  auto r = run_process(sh("sleep 30 & echo $! > " + f.path + "/pid; echo started"), Millis(10000));
  CHECK(boot_now() - begin < Millis(3000));
  CHECK(r.ok());
  CHECK(r.output == "started\n");
  ::kill(std::stoi(read_file(f.path + "/pid")), SIGKILL);
}

TEST_CASE("the caller sees the child before it executes, and can forbid it") {
  Folder f;
  ProcessId seen;
  Command c = sh("echo $$ > " + f.path + "/ran");
  c.before_exec = [&](const ProcessId& id) {
    seen = id;
    CHECK(is_alive(id));
    CHECK(!exists(f.path + "/ran"));
  };
  CHECK(run_process(c, Millis(5000)).ok());
  CHECK(read_file(f.path + "/ran") == std::to_string(seen.pid) + "\n");
  ::unlink((f.path + "/ran").c_str());
  c.before_exec = [](const ProcessId&) { throw Error("not durable"); };
  CHECK(message_of([&] { run_process(c, Millis(5000)); }) == "not durable");
  ::usleep(50000);
  CHECK(!exists(f.path + "/ran"));
}

TEST_CASE("a child that was not released dies with its parent without executing anything") {
  Folder f;
  pid_t parent = ::fork();
  if (parent == 0) {
    Command c = sh("touch " + f.path + "/ran");
    c.before_exec = [&](const ProcessId& id) {
      write_file_durable(f.path + "/pid", std::to_string(id.pid));
      ::kill(::getpid(), SIGKILL);
    };
    run_process(c, Millis(5000));
    ::_exit(0);
  }
  CHECK(wait_for([&] { return reap(parent).has_value(); }));
  pid_t child = std::stoi(read_file(f.path + "/pid"));
  CHECK(wait_for([&] { return !process_id(child); }));
  CHECK(!exists(f.path + "/ran"));
}

TEST_CASE("a detached program leads its own session, logs to its file, and its end can be collected") {
  Folder f;
  std::string log = f.path + "/log";
  ProcessId id = start_detached(sh("echo hello; exec sleep 60"), log);
  CHECK(is_alive(id));
  CHECK(::getsid(id.pid) == id.pid);
  CHECK(wait_for([&] { return read_file(log) == "hello\n"; }));
  CHECK(!reap(id.pid));
  CHECK(signal_group(id.pid, SIGTERM));
  std::optional<ProcessEnd> end;
  CHECK(wait_for([&] { return (end = reap(id.pid)).has_value(); }));
  REQUIRE(end);
  CHECK(end->text() == "killed by SIGTERM");
  CHECK(!is_alive(id));
  CHECK(!signal_group(id.pid, SIGTERM));
  CHECK(message_of([&] { start_detached({.argv = {"/no/such"}}, log); }) ==
        "cannot execute '/no/such': No such file or directory (ENOENT)");
}

TEST_CASE("a process id with another start time is another process") {
  auto self = process_id(::getpid());
  REQUIRE(self);
  CHECK(is_alive(*self));
  CHECK(!is_alive({self->pid, self->start + 1}));
  CHECK(self->start <= process_start_now());
  CHECK(!process_id(0));
  CHECK(!process_id(-5));
}

TEST_CASE("descriptors are not inherited") {
  int leaky = ::open("/dev/null", O_RDONLY);  // deliberately without O_CLOEXEC
  auto r = run_process({.argv = {"/bin/sh", "-c", "ls /proc/self/fd | wc -l"}}, Millis(5000));
  ::close(leaky);
  CHECK(std::stoi(r.output) <= 4);  // 0, 1, 2 and ls's own
}

TEST_CASE("many threads may run programs at once") {
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&good, i] {
      for (int k = 0; k < 5; ++k) {
        auto r = run_process(sh("echo " + std::to_string(i)), Millis(10000));
        if (r.ok() && r.output == std::to_string(i) + "\n") ++good;
      }
    });
  for (auto& t : threads) t.join();
  CHECK(good == 40);
}
