#include "manifests/unit_file.hpp"

#include <algorithm>

#include "core/base/error.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"

using namespace ripcord;
using ripcord::test::TempDir;

namespace {

const std::string kHead = "unit: web\nversion: 1.10\nhosts: all\n";

template <class Decode>
std::string said(Decode decode) {
  try {
    decode();
  } catch (const Error& e) {
    CHECK(e.exit() == Exit::invalid_file);
    return e.message();
  }
  return "";
}
std::string mistakes(const std::string& text) {
  return said([&] { decode_unit("unit.yaml", text); });
}
// The first lines of mistakes only, without the excerpts.
std::string short_mistakes(const std::string& more) {
  std::string out;
  for (const auto& line : split(mistakes(kHead + more), '\n'))
    if (line.find("unit.yaml:") == 0) out += line.substr(10) + "\n";
  return out;
}

}  // namespace

TEST_CASE("unit file: everything said is in the spec") {
  auto spec = decode_unit("unit.yaml", R"yaml(unit: storefront
version: 1.10
hosts: "role in (web, api)"
root: /opt/services
owner: www:www
code: {x86_64: bin/amd64, aarch64: bin/arm64}
config: conf
persist: [data, var/uploads]
files:
  - {from: config/logrotate, to: "/etc/logrotate.d/storefront-${host}", owner: root, mode: 0640}
services:
  - name: server
    run: [bin/server, --port, "${port}"]
    log: /var/log/storefront.log
    stop_deadline: 20s
    reload: [bin/reload]
    on_change: {config: reload}
  - name: worker
    start: {run: [/usr/bin/worker, start], deadline: 1m}
    stop: [/usr/bin/worker, stop]
    pidfile: "${shared}/worker.pid"
  - name: cron
    systemd: storefront-cron.service
actions:
  drain: [bin/drain, "${address}"]
  undrain: {run: [bin/undrain], deadline: 5s}
health:
  checks:
    - {http: "http://127.0.0.1:${port}/healthz", status: 204, contains: "${version}", timeout: 3s}
    - {tcp: "127.0.0.1:9000"}
    - {command: [bin/check]}
  min_healthy_time: 5s
  healthy_deadline: 2m
  interval: 500ms
running: {by: http, url: "http://localhost:${port}/version", contains: "${version}"}
formats:
  orders-db: {reads: [6, 7], writes: 7}
requires:
  units: {payments: 2.0}
drift:
  ignore:
    - {path: "cache/*", owner: jane, reason: made at run time, until: 2028-02-29}
secrets: [/etc/storefront/db-password]
allow_setuid: true
allow_twins: true
)yaml");
  CHECK(spec.unit == "storefront");
  CHECK(spec.version == "1.10");  // not 1.1
  CHECK(spec.hosts == "role in (web, api)");
  CHECK(spec.root == "/opt/services");
  CHECK(spec.owner == "www:www");
  CHECK(spec.code == std::map<std::string, std::string>{{"x86_64", "bin/amd64"}, {"aarch64", "bin/arm64"}});
  CHECK(spec.config == "conf");
  CHECK(spec.persist == std::vector<std::string>{"data", "var/uploads"});
  REQUIRE(spec.files.size() == 1);
  CHECK(spec.files[0].to == "/etc/logrotate.d/storefront-${host}");
  CHECK(spec.files[0].mode == 0640);
  REQUIRE(spec.services.size() == 3);
  CHECK(spec.services[0].run == Argv{"bin/server", "--port", "${port}"});
  CHECK(spec.services[0].stop_deadline == Millis(20000));
  CHECK(spec.services[0].on_config_change == "reload");
  CHECK(spec.services[0].reload->run == Argv{"bin/reload"});
  CHECK(spec.services[1].start->deadline == Millis(60000));
  CHECK(spec.services[1].stop->deadline == Millis(30000));
  CHECK(spec.services[1].pidfile == "${shared}/worker.pid");
  CHECK(spec.services[2].systemd == "storefront-cron.service");
  CHECK(spec.drain->run[0] == "bin/drain");
  CHECK(spec.undrain->deadline == Millis(5000));
  REQUIRE(spec.health.checks.size() == 3);
  CHECK(spec.health.checks[0].status == 204);
  CHECK(spec.health.checks[0].timeout == Millis(3000));
  CHECK(spec.health.checks[1].kind == HealthCheck::Kind::tcp);
  CHECK(spec.health.checks[2].command == Argv{"bin/check"});
  CHECK(spec.health.min_healthy_time == Millis(5000));
  CHECK(spec.running.by == Running::By::http);
  CHECK(spec.formats["orders-db"].reads == std::set<int>{6, 7});
  CHECK(spec.requires_units["payments"] == "2.0");
  CHECK(spec.drift_ignore[0].until == "2028-02-29");
  CHECK(spec.secrets.size() == 1);
  CHECK(spec.allow_setuid);
  CHECK(spec.allow_twins);
  // What the decoder lets pass, the sealed form takes as well.
  CHECK(to_json(unit_spec_from_json(to_json(spec))) == to_json(spec));
}

TEST_CASE("unit file: plain files need neither services nor health") {
  auto spec = decode_unit("unit.yaml", kHead);
  CHECK(spec.health.min_healthy_time == Millis(0));
  CHECK(spec.running.by == Running::By::none);
  auto with = decode_unit("unit.yaml", kHead + "services: [{name: a, run: [/bin/a]}]\n");
  CHECK(with.health.min_healthy_time == Millis(10000));
  CHECK(with.running.by == Running::By::process);
}

TEST_CASE("unit file: all mistakes at once, with line and caret") {
  CHECK(mistakes("unit: Web\nversoin: 1\nhosts: all\nhealth:\n  checks: []\n  min_healthy_time: 10\n") ==
        "unit.yaml:1:1: missing key 'version'\n"
        "   1 | unit: Web\n     | ^~~~\n"
        "unit.yaml:1:7: 'Web' is not a unit's name (lower-case letters, digits and '-', first a letter, at most 48)\n"
        "   1 | unit: Web\n     |       ^~~\n"
        "unit.yaml:2:1: unknown key 'versoin', did you mean 'version'?\n"
        "   2 | versoin: 1\n     | ^~~~~~~\n"
        "unit.yaml:6:21: expected a duration with its unit (500ms, 10s, 5m, 1h30m, 14d), found '10'\n"
        "   6 |   min_healthy_time: 10\n     |                     ^~");
}

TEST_CASE("unit file: services") {
  CHECK(short_mistakes("services: [{name: a}]\n") == "4:12: a service is started by exactly one of run, systemd, start\n");
  CHECK(short_mistakes("services: [{name: a, start: [/bin/a]}]\n") == "4:12: a service with start needs stop as well\n");
  CHECK(short_mistakes("services: [{name: a, run: [/a], stop: [/b]}]\n") ==
        "4:33: 'stop' goes with start: a service with run is handled by ripcord\n");
  CHECK(short_mistakes("services: [{name: a, run: /bin/a -x}]\n") ==
        "4:27: expected a list, found '/bin/a -x': no shell is used, write [program, argument, ...]\n");
  CHECK(short_mistakes("services: [{name: a, run: [/a]}, {name: a, run: [/b]}]\n") == "4:41: a second service 'a'\n");
  CHECK(short_mistakes("services: [{name: a, run: [/a], on_change: {config: reload}}]\n") == "4:53: this service has no reload action\n");
  CHECK(short_mistakes("services: [{name: a, run: [/a, \"${port\"]}]\n") == "4:32: '${' is not closed by '}' on its line\n");
  CHECK(short_mistakes("services: [{name: a, run: [/a], log: here.log}]\n") ==
        "4:38: an absolute path is needed, or one below ${release}, ${current} or ${shared}\n");
  CHECK(short_mistakes("actions: {drain: [/a]}\n") == "4:11: a unit that drains must say how to undrain\n");
}

TEST_CASE("unit file: health and running") {
  CHECK(short_mistakes("health: {checks: [{http: \"http://example.org/\"}]}\n") ==
        "4:26: 'example.org': a numeric address or localhost is needed, checks run on the host and resolve no names\n");
  CHECK(short_mistakes("health: {checks: [{http: \"https://127.0.0.1/\"}]}\n") ==
        "4:26: a URL of the host itself is needed, beginning with http://\n");
  CHECK(short_mistakes("health: {checks: [{tcp: \"127.0.0.1\"}]}\n") == "4:25: ADDRESS:PORT is needed, for example 127.0.0.1:6379\n");
  CHECK(short_mistakes("health: {checks: [{tcp: \"1.2.3.4:1\", status: 200}, {}]}\n") ==
        "4:38: 'status' belongs to an http check\n4:52: a check is exactly one of http, tcp, command\n");
  CHECK(short_mistakes("health: {checks: [], min_healthy_time: 5m, healthy_deadline: 5m}\n") ==
        "4:22: min_healthy_time (5m) must be shorter than healthy_deadline (5m), nothing could become healthy\n");
  CHECK(short_mistakes("health: {checks: [{http: \"http://[::1]:80/\"}, {http: \"http://${address}/\"}]}\n") == "");
  CHECK(short_mistakes("running: {by: exe_digest}\n") == "4:10: missing key 'exe'\n");
  CHECK(short_mistakes("running: {by: process, url: x}\n") == "4:24: 'url' belongs to by: http\n");
  CHECK(short_mistakes("running: {by: proces}\n") ==
        "4:15: expected one of process, exe_digest, http, none, found 'proces', did you mean 'process'?\n");
}

TEST_CASE("unit file: other values") {
  CHECK(short_mistakes("root: srv\n") == "4:7: an absolute path is needed\n");
  CHECK(short_mistakes("root: /a/../b\n").find("4:7: path 'a/../b' cannot be in a release") == 0);
  CHECK(short_mistakes("persist: [data, data/x]\n") == "4:17: 'data/x' and 'data' are one within the other\n");
  CHECK(short_mistakes("code: ../x\n").find("4:7: path '../x' cannot be in a release") == 0);
  CHECK(short_mistakes("files: [{from: a, to: etc/a, mode: 420}]\n") ==
        "4:23: the absolute path of a file on the host is needed\n4:36: expected an octal mode with a leading zero (0644), found '420'\n");
  CHECK(short_mistakes("drift: {ignore: [{path: a, owner: b, reason: c, until: 2027-02-29}]}\n") == "4:56: '2027-02-29' is not a date (2026-12-31)\n");
  CHECK(short_mistakes("requires: {units: {a: 1 2}}\n") == "4:23: '1 2' is not a version (letters, digits, '.', '_', '+', '-', at most 64)\n");
  CHECK(short_mistakes("owner: a:b:c\n") == "4:8: 'a:b:c' is not an owner (user or user:group)\n");
}

TEST_CASE("unit file: what the folder has to hold") {
  TempDir dir;
  auto load = [&] { return load_unit(dir.path()); };
  CHECK(said(load) == "'" + dir.path() + "' is not a unit: it has no unit.yaml");

  auto yaml = dir.write("unit.yaml", kHead);
  CHECK(said(load) == yaml + ":1:1: the unit has neither code nor config: there is no folder 'code' or 'config' beside this file\n"
                             "   1 | unit: web\n     | ^~~~");

  dir.write("code/bin/server", "#!/bin/true\n", 0755);
  dir.write("config/common/app.conf.tmpl", "port ${port}\nlog ${nowhere\n");
  dir.write("config/roles/web/app.conf", "x");
  CHECK(said(load) == dir.path() + ": 'config/roles' is in no layer, did you mean 'config/role'?\n" +
                          dir.path() + "/config/common/app.conf.tmpl:2:5: '${' is not closed by '}' on its line");

  TempDir good;
  good.write("code/bin/server", "#!/bin/true\n", 0755);
  good.write("code/bin/data", "x", 0644);
  good.write("config/common/app.conf.tmpl", "port ${port}\n");
  good.write("config/role/web/hook", "#!/bin/true\n", 0755);
  good.write("unit.yaml", kHead + "services: [{name: a, run: [bin/server]}]\n"
                                  "files: [{from: config/app.conf, to: /etc/app.conf}]\nactions: {drain: [config/hook], undrain: [config/hook]}\n");
  auto spec = load_unit(good.path() + "/");
  CHECK(spec.code == std::map<std::string, std::string>{{"any", "code"}});
  CHECK(spec.config == "config");
  auto uses = template_uses_in(good.path(), spec);
  REQUIRE(uses.size() == 1);
  CHECK(uses[0].where == "config/common/app.conf.tmpl");
  CHECK(uses[0].variables == std::vector<std::string>{"port"});

  auto path = good.write("unit.yaml", kHead + "code: nowhere\nservices: [{name: a, run: [nginx]}, {name: b, run: [bin/data]}]\nfiles: [{from: nope, to: /n}]\n");
  CHECK(said([&] { load_unit(good.path()); }) ==
        path + ":4:7: 'nowhere' is not a folder of this unit\n   4 | code: nowhere\n     |       ^~~~~~~\n" +
        path + ":5:28: program 'nginx' is not in the release; one of the host needs its absolute path\n"
               "   5 | services: [{name: a, run: [nginx]}, {name: b, run: [bin/data]}]\n     |                            ^~~~~\n" +
        path + ":5:53: program 'bin/data' is not in the release\n"
               "   5 | services: [{name: a, run: [nginx]}, {name: b, run: [bin/data]}]\n     |                                                     ^~~~~~~~\n" +
        path + ":6:16: 'nope' is not in the release\n   6 | files: [{from: nope, to: /n}]\n     |                ^~~~");
  good.write("unit.yaml", kHead + "services: [{name: b, run: [bin/data]}]\n");
  CHECK(said([&] { load_unit(good.path()); }).find("program 'bin/data' cannot be executed: chmod +x " + good.path() + "/code/bin/data") !=
        std::string::npos);
}

TEST_CASE("unit file: where variables are used") {
  auto spec = decode_unit("unit.yaml", kHead + "services: [{name: a, run: [/a, \"${port}\", \"$${literal}\"]}]\n"
                                               "health: {checks: [{http: \"http://${address}:${port}/\"}]}\n");
  auto uses = template_uses(spec);
  REQUIRE(uses.size() == 2);
  CHECK(uses[0].where == "service a: run");
  CHECK(uses[1].where == "health check 1: http");
  CHECK(uses[1].variables == std::vector<std::string>{"address", "port"});
}
