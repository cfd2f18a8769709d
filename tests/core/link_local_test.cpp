// The local link: a folder is a host.
#include "core/net/link_local.hpp"

#include <glob.h>
#include <signal.h>
#include <unistd.h>

#include "core/base/text.hpp"
#include "tests/core/link_world.hpp"
#include "tests/support/temp_dir.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

HostAddress folder_host(const TempDir& dir) {
  HostAddress host;
  host.name = "box";
  host.folder = dir / "box";
  return host;
}

Task<> echo_big(Link& link, Clock& clock, HostAddress host, std::size_t size, std::string& got) {
  auto channel = co_await link.open(host, "");
  std::string bytes(size, 'y');
  std::string chunk = bytes.substr(0, 100000);
  for (std::size_t at = 0; at < size; at += chunk.size()) {
    co_await channel->write(chunk);
    std::size_t want = got.size() + chunk.size();
    while (got.size() < want) {
      std::string more = co_await channel->read(clock.elapsed() + Millis(5000));
      got += more;
    }
  }
}

Task<> silent_then_gone(Link& link, Clock& clock, HostAddress host, std::vector<std::string>& seen) {
  auto channel = co_await link.open(host, "!errors 3000");
  std::string echoed = co_await channel->read(clock.elapsed() + Millis(3000));
  seen.push_back(echoed);
  try {
    co_await channel->read(clock.elapsed() + Millis(100));
  } catch (const LinkError& e) {
    seen.push_back(e.name());
  }
  seen.push_back(split(trim(channel->error_tail()), '\n').back());
  channel->close();
  try {
    co_await channel->write("more");
  } catch (const LinkError& e) {
    seen.push_back(e.name());
  }
}

int children() {
  int count = 0;
  glob_t found{};
  ::glob("/proc/[0-9]*/stat", 0, nullptr, &found);
  for (std::size_t i = 0; i < found.gl_pathc; ++i) try {
      auto fields = split(read_file(found.gl_pathv[i]), ' ');
      if (fields.size() > 3 && fields[3] == std::to_string(::getpid())) ++count;
    } catch (const Error&) {  // it went away meanwhile
    }
  ::globfree(&found);
  return count;
}

}  // namespace

TEST_CASE("local: the program is copied once, runs in its own session, and echoes") {
  LinkWorld w;
  TempDir dir;
  auto link = make_local_link(w.loop, w.clock, echo_program());
  CHECK(w.talk(*link, folder_host(dir)).got == "hello");
  std::string helper = dir / "box/var/lib/ripcord/helper/" + echo_program().digest.hex() + "/ripcord-host";
  CHECK(read_file(helper) == read_file(echo_program().path));
  CHECK(w.talk(*link, folder_host(dir), "!who\n", 10).got == std::to_string(::getuid()) + " " + helper + "\n");
  glob_t found{};
  CHECK(::glob((dir / "box/var/lib/ripcord/helper/*").c_str(), 0, nullptr, &found) == 0);
  CHECK(found.gl_pathc == 1);
  ::globfree(&found);
}

TEST_CASE("local: large answers, a full standard error, silence and an end are handled") {
  LinkWorld w;
  TempDir dir;
  auto link = make_local_link(w.loop, w.clock, echo_program());
  std::string got;
  run_to_end(w.loop, echo_big(*link, w.clock, folder_host(dir), 3000000, got));
  CHECK(got.size() == 3000000);
  std::vector<std::string> seen;
  run_to_end(w.loop, silent_then_gone(*link, w.clock, folder_host(dir), seen));
  CHECK(seen == std::vector<std::string>{"!errors 3000", "silent", "line 3000", "closed"});
  CHECK(w.talk(*link, folder_host(dir), "!exit", 0).got.empty());
}

TEST_CASE("local: a program that cannot be put or started is named") {
  LinkWorld w;
  TempDir dir;
  auto bad = dir.write("not-a-program", std::string("\x7f" "ELF\2\1\1", 7) + std::string(57, '\0'), 0755);
  auto link = make_local_link(w.loop, w.clock, Program{sha256(read_file(bad)), bad});
  auto out = w.talk(*link, folder_host(dir));
  CHECK(name_of(out) == "wrong_arch");
  dir.write("box2", "a file");
  auto host = folder_host(dir);
  host.folder = dir / "box2";
  CHECK(name_of(w.talk(*link, host)) == "push_failed");
  auto quits = dir.write("quits", "#!/bin/sh\necho no thanks >&2\n", 0755);
  auto quitter = make_local_link(w.loop, w.clock, Program{sha256(read_file(quits)), quits});
  auto quit = w.talk(*quitter, folder_host(dir));
  REQUIRE(quit.error);
  CHECK(quit.error->message() == "the program of 'box' ended before it answered; it printed: no thanks");
}

TEST_CASE("local: ended programs leave no zombies") {
  LinkWorld w;
  TempDir dir;
  int before = children();
  auto link = make_local_link(w.loop, w.clock, echo_program());
  for (int i = 0; i < 3; ++i) w.talk(*link, folder_host(dir));
  for (int i = 0; i < 100 && children() != before; ++i) run_to_end(w.loop, sleep_until(w.clock, w.clock.elapsed() + Millis(20)));
  CHECK(children() == before);
}

TEST_CASE("local: a run that is cut short destroys link, clock and loop under waiting tasks") {
  TempDir dir;
  int opened = 0;
  auto w = std::make_unique<LinkWorld>();  // the clock goes before the loop
  auto link = make_local_link(w->loop, w->clock, echo_program());
  for (int i = 0; i < 2; ++i) spawn(w->loop, open_and_wait(*link, w->clock, folder_host(dir), opened), [](std::exception_ptr) {});
  CHECK_THROWS_AS(run_to_end(w->loop, give_up(w->clock, opened, 2)), CutShort);
  link.reset();
  w.reset();
  CHECK(opened == 2);
}
