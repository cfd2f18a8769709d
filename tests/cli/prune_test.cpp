// prune as a person types it; what goes and what stays is decided on the host, and tested there.
#include "core/base/json.hpp"
#include "tests/cli/demo.hpp"

using namespace ripcord;
using namespace ripcord::test;

TEST_CASE("prune: what stays says why, rules cannot be made weaker, nothing happens without a yes, and history has it") {
  Demo demo;
  for (const char* next : {"1.0", "1.1"}) {
    if (std::string(next) != "1.0") demo.replace("hello/unit.yaml", "\"1.0\"", "\"1.1\"");
    auto run = demo.ripcord({"apply", "hello/", "-y"});
    INFO(run.output);
    REQUIRE(run.exit == 0);
  }
  CHECK(demo.ripcord({"prune", "hello"}).exit == 8);
  CHECK(demo.ripcord({"prune", "hello", "-y", "--keep", "4"}).exit == 64);
  CHECK(demo.ripcord({"prune", "hello", "-y", "--older-than", "13d"}).exit == 64);
  auto dry = demo.ripcord({"prune", "hello", "--dry-run"});
  INFO(dry.output);
  CHECK(dry.exit == 0);
  CHECK(dry.output.find("0 to be marked, 0 to be removed") != dry.output.npos);
  CHECK(demo.ripcord({"history", "--all"}).output.find("prune") == std::string::npos);

  auto pruned = demo.ripcord({"prune", "hello", "-y", "-o", "json"});
  INFO(pruned.output);
  REQUIRE(pruned.exit == 0);
  auto hosts = parse_json_object(pruned.output, "prune").at("hosts").as_array();
  REQUIRE(hosts.size() == 3);
  for (const auto& h : hosts) {
    std::string kept;
    for (const auto& i : h.at("items").as_array())
      kept += std::string(i.at("name").as_string()).substr(0, 3) + " " + std::string(i.at("fate").as_string()) + " " + std::string(i.at("why").as_string()) + "; ";
    CHECK(kept == "1.0 kept a rollback goes there; 1.1 kept it is current; ");
  }
  CHECK(demo.ripcord({"history"}).output.find("pruned hello: 0 marked, 0 removed on 3 hosts") != std::string::npos);
}
