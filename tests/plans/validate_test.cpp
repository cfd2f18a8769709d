#include "plans/files/validate.hpp"

#include <algorithm>

#include "core/base/files.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;

namespace {

const std::string kExamples = std::string(RIPCORD_SOURCE_DIR) + "/examples/files/";

Fleet small_fleet() {
  return decode_fleet("/x/fleet.yaml",
                      "fleet: f\ndatacenters:\n  a: {hosts: {\"w[1:2]\": {labels: {role: web, port: 80}}, d: {labels: {role: db}}}}\n");
}
UnitSpec unit(const std::string& more) { return decode_unit("unit.yaml", "unit: web\nversion: 1\n" + more); }

}  // namespace

TEST_CASE("the example files are right, and fit together") {
  auto fleet = decode_fleet(kExamples + "fleet.yaml", read_file(kExamples + "fleet.yaml"));
  CHECK(fleet.hosts.size() == 12);
  CHECK(fleet.find("web-04")->labels.at("rack") == "r2");
  CHECK(fleet.find("web-02")->address.address == "10.0.1.12");
  auto spec = decode_unit(kExamples + "unit.yaml", read_file(kExamples + "unit.yaml"));
  CHECK(spec.version == "1.10");
  auto plan = load_plan(kExamples + "plan.yaml", fleet);
  CHECK(plan.stages.size() == 4);
  CHECK(cross_check(fleet, spec, &plan) == std::vector<std::string>{});
}

TEST_CASE("what the example files call the default is the default") {
  auto fleet = decode_fleet(kExamples + "fleet.yaml", read_file(kExamples + "fleet.yaml"));
  SshDefaults ssh;
  CHECK(fleet.ssh.timeouts.connect == ssh.timeouts.connect);
  CHECK(fleet.ssh.timeouts.handshake == ssh.timeouts.handshake);
  CHECK(fleet.ssh.timeouts.auth == ssh.timeouts.auth);
  CHECK(fleet.ssh.heartbeat == ssh.heartbeat);
  CHECK(fleet.ssh.max_handshakes == ssh.max_handshakes);
  CHECK(fleet.ssh.max_sessions == ssh.max_sessions);
  auto bare = decode_fleet(kExamples + "fleet.yaml", "fleet: f\ndatacenters: {a: {hosts: h}}\n");
  CHECK(fleet.ledger == bare.ledger);
  CHECK(fleet.store == bare.store);
  CHECK(fleet.local_dir == bare.local_dir);
  auto spec = decode_unit("u", read_file(kExamples + "unit.yaml"));
  CHECK(spec.health.min_healthy_time == Health{}.min_healthy_time);
  CHECK(spec.health.healthy_deadline == Health{}.healthy_deadline);
  CHECK(spec.health.interval == Health{}.interval);
  CHECK(spec.root == UnitSpec{}.root);
  auto plan = load_plan(kExamples + "plan.yaml", fleet);
  CHECK(plan.max_failures.text() == Plan{}.max_failures.text());
  CHECK(plan.max_unreachable.text() == Plan{}.max_unreachable.text());
  CHECK(plan.progress_deadline == Plan{}.progress_deadline);
  CHECK(plan.hotfix_bake == Plan{}.hotfix_bake);
  CHECK(plan.spread == Plan{}.spread);
  CHECK(plan.proof_expires == Plan{}.proof_expires);
}

TEST_CASE("cross checks name the host and the variable") {
  auto fleet = small_fleet();
  using V = std::vector<std::string>;
  CHECK(cross_check(fleet, unit("hosts: role=web\nservices: [{name: a, run: [/a, \"${port}\", \"${release}\"]}]\n"), nullptr) == V{});
  CHECK(cross_check(fleet, unit("hosts: role=wbe\n"), nullptr) == V{"unit 'web': hosts: 'role=wbe' matches none of the 3 hosts of fleet 'f'"});
  CHECK(cross_check(fleet, unit("hosts: \"role==web\"\n"), nullptr) == V{"unit 'web': hosts: selector 'role==web': 'role==web': write one '='"});
  CHECK(cross_check(fleet, unit("hosts: all\nservices: [{name: a, run: [/a, \"${port}\"]}]\n"), nullptr) ==
        V{"service a: run uses ${port}, a label that 1 of 3 hosts lacks: d"});
  CHECK(cross_check(fleet, unit("hosts: all\nservices: [{name: a, run: [/a, \"${rol}\"]}]\n"), nullptr) ==
        V{"service a: run uses ${rol}, a label that 3 of 3 hosts lack: w1, w2, d; did you mean ${role}?"});
}

TEST_CASE("cross checks of config templates look only at the hosts they reach") {
  auto fleet = small_fleet();
  using V = std::vector<std::string>;
  auto spec = unit("hosts: all\n");
  CHECK(cross_check(fleet, spec, nullptr, {{"config/role/web/x.tmpl", {"port"}, "role", "web", true}}) == V{});
  CHECK(cross_check(fleet, spec, nullptr, {{"config/role/db/x.tmpl", {"port"}, "role", "db", true}}) ==
        V{"config/role/db/x.tmpl uses ${port}, a label that 1 of 3 hosts lacks: d"});
  CHECK(cross_check(fleet, spec, nullptr, {{"config/common/x.tmpl", {"release", "version", "arch"}, "", "", true}}) ==
        V{"config/common/x.tmpl uses ${release}, which is not known when configuration is rendered: hand it over in the service's run"});
  CHECK(cross_check(fleet, spec, nullptr, {{"config/role/wbe/x.tmpl", {"port"}, "role", "wbe", true}}) ==
        V{"config/role/wbe/x.tmpl reaches no host: none of the unit's has role=wbe"});
}

TEST_CASE("cross checks of plans") {
  auto fleet = small_fleet();
  using V = std::vector<std::string>;
  auto spec = unit("hosts: role=web\n");
  auto plan = decode_plan("p.yaml", "unit: api\nstages: [{name: dbs, hosts: {where: role=db}}, {name: one, hosts: 1}]\n", fleet);
  CHECK(cross_check(fleet, spec, &plan) ==
        V{"plan 'p.yaml' is for unit 'api', not for 'web'", "no stage of plan 'p.yaml' takes 1 of 2 hosts: w2"});
  auto rest = decode_plan("p.yaml", "stages: [{name: dbs, hosts: {where: role=db}}, {name: all, hosts: rest}]\n", fleet);
  CHECK(cross_check(fleet, spec, &rest) == V{"plan 'p.yaml': stage 'dbs' takes no host of unit 'web'"});
}
