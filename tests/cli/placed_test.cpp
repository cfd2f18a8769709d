// A placed file that somebody edited: nobody is held up, nothing is lost, and the person is told.
#include "tests/cli/demo.hpp"

using namespace ripcord;
using namespace ripcord::test;

TEST_CASE("an edited placed file is kept as evidence and named, by a rollout and by the cord") {
  Demo demo;
  demo.replace("hello/unit.yaml", "persist:", "files: [{from: bin/check, to: /etc/hello-check, mode: '0644'}]\npersist:");
  demo.replace("hello/unit.yaml", "min_healthy_time: 1s", "min_healthy_time: 0s");
  write_file_durable(demo.folder + "/plans/hello.yaml", "unit: hello\nwindow: none\nstages: [{name: all, hosts: rest, max_parallel: 3}]\n", 0644);
  const std::string placed = demo.folder + "/hosts/web-01/etc/hello-check";
  auto kept_in = [&](const std::string& output, const std::string& text) {
    auto at = output.find("edited by hand: ");
    REQUIRE(at != output.npos);
    auto from = output.find(", kept in ", at) + 10;
    auto folder = output.substr(from, output.find_first_of(" \n", from) - from);
    if (!folder.starts_with(demo.folder)) folder = demo.folder + "/hosts/web-01" + folder;
    CHECK(read_file(folder + "/hello-check") == text);
  };

  auto first = demo.ripcord({"apply", "hello/", "-y"});
  INFO(first.output);
  REQUIRE(first.exit == 0);
  write_file_durable(placed, "hot fix\n", 0644);
  demo.replace("hello/unit.yaml", "\"1.0\"", "\"1.1\"");
  demo.replace("hello/code/bin/check", "#!/bin/sh\n", "#!/bin/sh\n# 1.1\n");
  auto second = demo.ripcord({"apply", "hello/", "-y"});
  INFO(second.output);
  REQUIRE(second.exit == 0);
  kept_in(second.output, "hot fix\n");
  CHECK(read_file(placed).find("# 1.1") != std::string::npos);

  write_file_durable(placed, "another\n", 0644);
  auto back = demo.ripcord({"rollback", "hello", "-y"});
  INFO(back.output);
  REQUIRE(back.exit == 0);
  kept_in(back.output, "another\n");
  CHECK(read_file(placed).find("# 1.1") == std::string::npos);
}
