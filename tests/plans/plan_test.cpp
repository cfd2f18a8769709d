#include "plans/files/plan.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <set>

#include "core/base/files.hpp"
#include "plans/rollout/preflight.hpp"
#include "plans/rollout/saved_plan.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"

using namespace ripcord;

namespace {

Fleet fleet_of(const std::string& datacenters, const std::string& more = "") {
  return decode_fleet("/x/fleet.yaml", "fleet: f\n" + more + "datacenters: {" + datacenters + "}\n");
}
const std::string kThree = "a: {hosts: \"a[1:4]\"}, b: {hosts: \"b[1:4]\"}, c: {hosts: \"c[1:4]\"}";

std::vector<const Host*> all(const Fleet& fleet) { return fleet.select(Selector::parse("all")); }

// "canary: a1 | rest: a2 b1"
std::string assigned(const Plan& plan, const std::vector<const Host*>& hosts) {
  std::string out;
  auto stages = assign_stages(plan, hosts);
  for (std::size_t i = 0; i < stages.size(); ++i) {
    out += (i ? " | " : "") + plan.stages[i].name + ":";
    for (const auto* h : stages[i]) out += " " + h->name;
  }
  return out;
}
std::string short_mistakes(const std::string& text, const Fleet& fleet = fleet_of(kThree)) {
  std::string out;
  try {
    decode_plan("plan.yaml", text, fleet);
  } catch (const Error& e) {
    CHECK(e.exit() == Exit::invalid_file);
    for (const auto& line : split(e.message(), '\n'))
      if (line.find("plan.yaml:") == 0) out += line.substr(10) + "\n";
  }
  return out;
}

}  // namespace

TEST_CASE("amounts") {
  CHECK(Amount{3, false}.of(100) == 3);
  CHECK(Amount{10, true}.of(99) == 9);   // rounds down
  CHECK(Amount{10, true}.of(5) == 1);    // but not to nothing
  CHECK(Amount{0, true}.of(50) == 0);
  CHECK(Amount{5, true}.of(0) == 0);
  CHECK(Amount{100, true}.of(100000) == 100000);
  CHECK(Amount{25, true}.text() == "25%");
}

TEST_CASE("the ladder: three datacenters") {
  auto fleet = fleet_of(kThree, "link: local\n");
  auto plan = default_ladder(fleet, all(fleet));
  CHECK(assigned(plan, all(fleet)) ==
        "canary: a1 | one-per-datacenter: a2 b1 c1 | one-datacenter: a3 a4 | global: b2 c2 b3 c3 b4 c4");
  CHECK_FALSE(plan.window);
  CHECK(plan.spread == Millis(0));
  std::vector<std::int64_t> bakes;
  for (const auto& s : plan.stages) bakes.push_back(s.bake.count());
  CHECK(bakes == std::vector<std::int64_t>{2000, 2000, 2000, 1000});
  CHECK(plan.max_failures.of(12) == 1);
  CHECK(plan.rollback_on_failure);
}

TEST_CASE("the ladder: ssh, one datacenter, few hosts") {
  auto fleet = fleet_of("a: {hosts: \"h[01:20]\"}");
  auto plan = default_ladder(fleet, all(fleet));
  auto stages = assign_stages(plan, all(fleet));
  REQUIRE(stages.size() == 4);
  CHECK(stages[0].size() == 1);
  CHECK(stages[1].size() == 2);
  CHECK(stages[2].size() == 10);
  CHECK(stages[3].size() == 7);
  CHECK(plan.stages[0].bake == Millis(24 * 3600000));
  CHECK(plan.stages[1].bake == Millis(4 * 3600000));
  CHECK(plan.stages[2].bake == Millis(2 * 3600000));
  REQUIRE(plan.window);
  CHECK(plan.window->text() == "mon-fri 09:00-16:00 " + local_timezone());

  auto one = fleet_of("a: {hosts: h}");
  CHECK(assigned(default_ladder(one, all(one)), all(one)) == "canary: h");  // stages that would be empty are left out
  auto two = fleet_of("a: {hosts: h}, b: {hosts: g}");
  CHECK(assigned(default_ladder(two, all(two)), all(two)) == "canary: h | one-per-datacenter: g");
}

TEST_CASE("stages: every kind of selection, failure domains alternate") {
  auto fleet = fleet_of("a: {hosts: {\"a[1:4]\": {labels: {rack: \"[x,x,y,y]\", role: web}}}}, b: {hosts: {\"b[1:2]\": {labels: {role: db}}}}");
  auto plan = [&](const std::string& stages) { return decode_plan("p", "stages:\n" + stages, fleet); };
  auto hosts = all(fleet);
  CHECK(assigned(plan("  - {name: s, hosts: rest}\n"), hosts) == "s: a1 b1 a3 b2 a2 a4");
  CHECK(assigned(plan("  - {name: s, hosts: 3}\n  - {name: r, hosts: rest}\n"), hosts) == "s: a1 b1 a3 | r: a2 b2 a4");
  CHECK(assigned(plan("  - {name: s, hosts: 50%}\n  - {name: t, hosts: 50%}\n"), hosts) == "s: a1 b1 a3 | t: a2 b2 a4");
  CHECK(assigned(plan("  - {name: s, hosts: {count: 1, per: rack}}\n  - {name: r, hosts: rest}\n"), hosts) == "s: a1 a3 | r: a2 b1 a4 b2");
  CHECK(assigned(plan("  - {name: s, hosts: {percent: 50, per: role}}\n  - {name: r, hosts: rest}\n"), hosts) == "s: a1 b1 a3 | r: a2 b2 a4");
  CHECK(assigned(plan("  - {name: s, hosts: {datacenters: 1}}\n  - {name: r, hosts: rest}\n"), hosts) == "s: a1 a3 a2 a4 | r: b1 b2");
  CHECK(assigned(plan("  - {name: s, hosts: {where: role=db}}\n  - {name: r, hosts: rest}\n"), hosts) == "s: b1 b2 | r: a1 a3 a2 a4");
  CHECK(assigned(plan("  - {name: s, hosts: {count: 1, where: role=db}}\n  - {name: r, hosts: rest}\n"), hosts) == "s: b1 | r: a1 b2 a3 a2 a4");
  CHECK(assigned(plan("  - {name: s, hosts: {where: nothing=1}}\n  - {name: r, hosts: rest}\n"), hosts) == "s: | r: a1 b1 a3 b2 a2 a4");

  CHECK_THROWS_WITH(assign_stages(plan("  - {name: s, hosts: 4}\n"), hosts), "no stage of plan 'p' takes 2 of 6 hosts: a2, a4");
  CHECK(assigned(plan("  - {name: s, hosts: 1}\nrest: excluded\n"), hosts) == "s: a1");

  // Each host lands in one stage, whatever the stages are.
  auto many = plan("  - {name: a, hosts: 1}\n  - {name: b, hosts: {count: 1, per: datacenter}}\n  - {name: c, hosts: 25%}\n  - {name: d, hosts: rest}\n");
  std::set<const Host*> seen;
  for (const auto& stage : assign_stages(many, hosts))
    for (const auto* h : stage) CHECK(seen.insert(h).second);
  CHECK(seen.size() == hosts.size());
}

TEST_CASE("plan file: everything said is in the plan") {
  auto fleet = fleet_of(kThree);
  auto plan = decode_plan("plan.yaml", R"yaml(unit: storefront
stages:
  - name: canary
    hosts: 1
    bake: 10m
  - name: wide
    hosts: {percent: 10, per: datacenter, where: "datacenter!=c"}
    max_parallel: 25%
    slow_start: false
    max_unavailable: {per: datacenter, count: 50%}
    approval: true
  - {name: all, hosts: rest, max_unavailable: 2}
window: {days: [mon-wed, fri], hours: "22:00-04:00", timezone: Europe/Berlin}
max_failures: 2
max_unreachable: 10%
progress_deadline: 5m
on_failure: pause
deadman: strong
spread: 30s
hotfix_bake: 20s
proof_expires: 3d
once: {before: wide, run: [bin/migrate, --to, "7"], check: [bin/migrated], deadline: 20m}
requires: {fleet: staging, completed: 24h}
)yaml", fleet);
  CHECK(plan.unit == "storefront");
  REQUIRE(plan.stages.size() == 3);
  CHECK(plan.stages[0].bake == Millis(600000));
  CHECK(plan.stages[0].max_parallel.of(100) == 10);
  CHECK(plan.stages[0].slow_start);
  const auto& wide = plan.stages[1];
  CHECK(wide.hosts.kind == Selection::Kind::per_label);
  CHECK(wide.hosts.amount.text() == "10%");
  CHECK(wide.hosts.label == "datacenter");
  CHECK(wide.hosts.where->text() == "datacenter!=c");
  CHECK(wide.max_parallel.text() == "25%");
  CHECK_FALSE(wide.slow_start);
  CHECK(wide.max_unavailable->label == "datacenter");
  CHECK(wide.max_unavailable->amount.text() == "50%");
  CHECK(wide.approval);
  CHECK(plan.stages[2].hosts.kind == Selection::Kind::rest);
  CHECK(plan.stages[2].max_unavailable->label.empty());
  CHECK(plan.window->text() == "mon-wed,fri 22:00-04:00 Europe/Berlin");
  CHECK(plan.max_failures.text() == "2");
  CHECK(plan.max_unreachable.text() == "10%");
  CHECK(plan.progress_deadline == Millis(300000));
  CHECK_FALSE(plan.rollback_on_failure);
  CHECK(plan.demand_strong_deadman);
  CHECK(plan.spread == Millis(30000));
  CHECK(plan.hotfix_bake == Millis(20000));
  CHECK(plan.proof_expires == Millis(3 * 86400000));
  REQUIRE(plan.once.size() == 1);
  CHECK(plan.once[0].stage == 1);
  CHECK(plan.once[0].run == std::vector<std::string>{"bin/migrate", "--to", "7"});
  CHECK(plan.once[0].check == std::vector<std::string>{"bin/migrated"});
  CHECK(plan.once[0].deadline == Millis(1200000));
  CHECK(plan.completed_elsewhere->fleet == "staging");
  CHECK(plan.completed_elsewhere->completed == Millis(86400000));

  const std::string stages = "stages: [{name: s, hosts: rest}]\n";
  CHECK(decode_plan("p", stages, fleet).window->text() == "mon-fri 09:00-16:00 " + local_timezone());
  CHECK_FALSE(decode_plan("p", stages + "window: none\n", fleet).window);
  CHECK_FALSE(decode_plan("p", stages, fleet_of(kThree, "link: local\n")).window);
  CHECK(decode_plan("p", stages + "window: {days: sat-mon, hours: \"00:00-24:00\", timezone: UTC}\n", fleet).window->text() ==
        "mon,sat,sun 00:00-24:00 UTC");
}

TEST_CASE("a release of any size is told from a saved plan by its first bytes") {
  ripcord::test::TempDir dir;
  Fd file = open_file(dir / "big.release", O_WRONLY | O_CREAT, 0644);
  REQUIRE(::ftruncate(file.get(), 200 << 20) == 0);
  CHECK_FALSE(is_saved_plan(dir / "big.release"));
  CHECK_FALSE(is_saved_plan(dir / "nothing"));
}

TEST_CASE("plan file: mistakes have their place") {
  const std::string ok = "stages: [{name: s, hosts: rest}]\n";
  CHECK(short_mistakes("unit: x\n") == "1:1: missing key 'stages'\n");
  CHECK(short_mistakes("stages: []\n") == "1:9: a plan needs at least one stage\n");
  CHECK(short_mistakes("stages: [{name: s, hosts: some}, {name: s, hosts: 0}, {name: t, hosts: 101%}]\n") ==
        "1:27: expected a number of hosts, a percentage, rest, or a map (3, 25%, rest, {count: 1, per: datacenter}), found 'some'\n"
        "1:41: a second stage 's'\n1:51: expected a number from 1 to 100000\n1:72: expected a percentage from 1 to 100\n");
  CHECK(short_mistakes("stages: [{name: s, hosts: {count: 1, percent: 2}}]\n") == "1:27: only one of count, percent, datacenters is possible\n");
  CHECK(short_mistakes("stages: [{name: s, hosts: {count: 1, per: datacentre}}]\n") ==
        "1:43: no host has a label 'datacentre', did you mean 'datacenter'?\n");
  CHECK(short_mistakes("stages: [{name: s, hosts: {per: datacenter}}]\n") == "1:27: 'per' needs count or percent: how many for each value of the label\n");
  CHECK(short_mistakes("stages: [{name: s, hosts: {where: \"a==b\"}, bakes: 1s}]\n") ==
        "1:35: selector 'a==b': 'a==b': write one '='\n1:44: unknown key 'bakes', did you mean 'bake'?\n");
  CHECK(short_mistakes(ok + "window: {days: [mo], hours: \"9-16\", timezone: Europe/Berlyn}\n") ==
        "2:17: 'mo' is not a day (mon, tue, wed, thu, fri, sat, sun) or a range of days (mon-fri)\n"
        "2:29: '9-16' are not hours (09:00-16:00)\n"
        "2:47: unknown time zone 'Europe/Berlyn': names are as in /usr/share/zoneinfo, for example Europe/Berlin\n");
  CHECK(short_mistakes(ok + "window: {hours: \"09:00-09:00\"}\n") ==
        "2:17: a window from a time to the same time never opens; 00:00-24:00 is the whole day\n");
  CHECK(short_mistakes(ok + "window: always\n") == "2:9: expected one of none, found 'always'\n");
  CHECK(short_mistakes(ok + "once: {before: t, run: [a]}\n") == "2:16: there is no stage 't', did you mean 's'?\n");
  CHECK(short_mistakes(ok + "once: [{before: s}]\nrequires: {fleet: x}\n") == "2:8: missing key 'run'\n3:11: missing key 'completed'\n");
  CHECK(short_mistakes(ok + "on_failure: rolback\nmax_failures: 0\n") ==
        "2:13: expected one of rollback, pause, found 'rolback', did you mean 'rollback'?\n3:15: expected a number from 1 to 100000\n");
}
