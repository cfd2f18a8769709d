#include "manifests/shared/unit_spec.hpp"

#include "core/base/error.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;

namespace {

UnitSpec full_spec() {
  UnitSpec s;
  s.unit = "storefront";
  s.version = "1.1";
  s.hosts = "role=web";
  s.root = "/opt/apps";
  s.owner = "www-data:www-data";
  s.code = {{"any", "code"}, {"aarch64", "code-arm"}};
  s.config = "config";
  s.persist = {"data", "var/uploads"};
  s.files = {{"config/app.service", "/etc/systemd/system/app.service", "root", 0600}};
  Service run;
  run.name = "web";
  run.run = {"bin/server", "--port", "${port}"};
  run.stop_deadline = Millis(5000);
  run.on_config_change = "reload";
  Service unit;
  unit.name = "worker";
  unit.systemd = "worker.service";
  unit.restart = Action{{"bin/restart"}, Millis(90000)};
  s.services = {run, unit};
  s.drain = Action{{"bin/drain"}, Millis(1000)};
  HealthCheck check;
  check.kind = HealthCheck::Kind::command;
  check.command = {"bin/check"};
  s.health.checks = {check};
  s.health.min_healthy_time = Millis(2000);
  s.running.by = Running::By::exe_digest;
  s.running.exe = "bin/server";
  s.formats = {{"orders-db", {{6, 7}, 7}}};
  s.requires_units = {{"base", "2.0"}};
  s.drift_ignore = {{"config/*.bak", "ops", "editors leave them", "2027-01-01"}};
  s.secrets = {"/etc/app/secret"};
  s.allow_setuid = true;
  return s;
}

std::string encoded(const UnitSpec& s) { return json::serialize(to_json(s)); }

UnitSpec decoded(const std::string& text) { return unit_spec_from_json(parse_json_object(text, "the spec")); }

}  // namespace

TEST_CASE("unit spec: everything survives the round trip, defaults are left out") {
  auto bytes = encoded(full_spec());
  CHECK(encoded(decoded(bytes)) == bytes);
  auto back = decoded(bytes);
  CHECK(back.services[1].restart->deadline == Millis(90000));
  CHECK(back.files[0].mode == 0600);
  CHECK(back.formats["orders-db"].reads == std::set<int>{6, 7});
  CHECK(back.health.checks[0].kind == HealthCheck::Kind::command);
  CHECK(back.running.by == Running::By::exe_digest);

  UnitSpec small;
  small.unit = "a";
  small.version = "1";
  small.hosts = "all";
  CHECK(encoded(small) == R"({"unit":"a","version":"1","hosts":"all"})");
}

TEST_CASE("unit spec: anything unknown, mistyped or dangerous is refused by name") {
  auto with = [](const std::string& more) { return R"({"unit":"a","version":"1","hosts":"all")" + more + "}"; };
  auto check = [&](const std::string& more, const std::string& message) {
    INFO(more);
    CHECK_THROWS_WITH(decoded(with(more)), message);
  };
  check(R"(,"extra":1)", "member 'extra' is not known");
  check(R"(,"root":7)", "member 'root' is not a string");
  check(R"(,"root":"srv")", "root 'srv' is not an absolute path");
  check(R"(,"root":"/srv/../etc")", "path 'srv/../etc' cannot be in a release: it has a '.' or '..' component");
  check(R"(,"persist":["../x"])", "path '../x' cannot be in a release: it has a '.' or '..' component");
  check(R"(,"code":{"any":"/etc"})", "path '/etc' cannot be in a release: it is not relative");
  check(R"(,"services":[{"run":["x"]}])", "member 'name' is missing, while reading 'services'");
  check(R"(,"services":[{"name":"../x"}])", "'../x' is not a service's name");
  check(R"(,"health":{"checks":[{"kind":"icmp"}]})", "member 'kind' is not one of the known words, while reading 'checks', while reading 'health'");
  check(R"(,"drain":{"run":["x"],"deadline_ms":-1})", "member 'deadline_ms' is -1, allowed is 0 to 31622400000, while reading 'drain'");
  check(R"(,"files":[{"from":"a","to":"/b","mode":"644"}])", "member 'mode' is not a file mode, while reading 'files'");
  CHECK_THROWS_WITH(decoded(R"({"unit":"../a","version":"1","hosts":"all"})"), "'../a' is not a unit's name");
  CHECK_THROWS_WITH(decoded(R"({"unit":"a","version":".hidden","hosts":"all"})"), "'.hidden' is not a version");
  CHECK_THROWS_WITH(decoded(R"({"unit":"a","version":"1"})"), "member 'hosts' is missing");
}

TEST_CASE("unit spec: the dead-man's bound holds every wait of an activation") {
  UnitSpec s;
  s.health.healthy_deadline = Millis(60000);
  s.health.min_healthy_time = Millis(5000);
  CHECK(activation_bound(s, Millis(40000)) == Millis(60000 + 5000 + 80000 + 10000));
  Service service;
  service.stop_deadline = Millis(7000);
  s.services = {service};  // stopped, then started within an action's own deadline
  CHECK(activation_bound(s, Millis(0)) == Millis(75000 + 7000 + 30000));
  s.services[0].stop = Action{{"stop"}, Millis(20000)};
  s.services[0].restart = Action{{"restart"}, Millis(50000)};
  CHECK(activation_bound(s, Millis(0)) == Millis(75000 + 20000 + 50000));
}
