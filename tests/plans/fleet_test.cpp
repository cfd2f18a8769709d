#include "plans/files/fleet.hpp"

#include <cstdlib>

#include "core/base/files.hpp"
#include "plans/files/inventory.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"

using namespace ripcord;
using ripcord::test::TempDir;

namespace {

std::string mistakes(const std::string& text) {
  try {
    decode_fleet("fleet.yaml", text);
  } catch (const Error& e) {
    CHECK(e.exit() == Exit::invalid_file);
    return e.message();
  }
  return "";
}
std::string short_mistakes(const std::string& text) {
  std::string out;
  for (const auto& line : split(mistakes(text), '\n'))
    if (line.find("fleet.yaml:") == 0) out += line.substr(11) + "\n";
  return out;
}
std::string names(const Fleet& fleet) {
  std::string out;
  for (const auto& h : fleet.hosts) out += (out.empty() ? "" : " ") + h.name;
  return out;
}
std::string range_says(const std::string& pattern) {
  try {
    expand_range(pattern);
  } catch (const Error& e) {
    return e.message();
  }
  return "";
}

}  // namespace

TEST_CASE("ranges") {
  using V = std::vector<std::string>;
  CHECK(expand_range("web") == V{"web"});
  CHECK(expand_range("web-[08:11]") == V{"web-08", "web-09", "web-10", "web-11"});
  CHECK(expand_range("web-[8:11]") == V{"web-8", "web-9", "web-10", "web-11"});
  CHECK(expand_range("[a,b]-[1:2].x") == V{"a-1.x", "a-2.x", "b-1.x", "b-2.x"});
  CHECK(expand_range("r[1:2,7]") == V{"r1", "r2", "r7"});
  CHECK(expand_range("[5:5]") == V{"5"});
  CHECK(expand_range("h[00000:99999]").size() == 100000);
  CHECK(range_says("a[1:3") == "range 'a[1:3': '[' and ']' do not match");
  CHECK(range_says("a]1") == "range 'a]1': '[' and ']' do not match");
  CHECK(range_says("a[[1:2]]") == "range 'a[[1:2]]': '[' and ']' do not match");
  CHECK(range_says("a[3:1]") == "range 'a[3:1]': '3' is above '1'");
  CHECK(range_says("a[01:100]") == "range 'a[01:100]': '01' and '100' need the same number of digits");
  CHECK(range_says("a[1:b]") == "range 'a[1:b]': 'b' is not a number");
  CHECK(range_says("a[-1:2]") == "range 'a[-1:2]': '-1' is not a number");
  CHECK(range_says("a[]") == "range 'a[]': a value is missing within [ ]");
  CHECK(range_says("a[1:100001]") == "range 'a[1:100001]': more than 100000 names");
  CHECK(range_says("a[1:99999999999999999999]") == "range 'a[1:99999999999999999999]': '99999999999999999999' is not a number");
  CHECK(range_says("a[1:400][1:400]") == "range 'a[1:400][1:400]': more than 100000 names");
}

TEST_CASE("fleet: everything said is there, ranges in step with their host") {
  TempDir dir;
  const char* home = std::getenv("HOME");
  const std::string kept = home ? home : "/root";
  ::setenv("HOME", "/home/someone", 1);
  auto path = dir.write("fleet.yaml", R"yaml(fleet: shop
protected: true
ledger: state/ledger.db
store: /var/store
ssh:
  user: deploy
  port: 2222
  identity: ~/.ssh/deploy
  known_hosts: keys/known
  become: sudo
  state_dir: /opt/ripcord
  timeouts: {connect: 3s, handshake: 4s, auth: 5s}
  heartbeat: 5s
  max_handshakes: 4
  max_sessions: 20
labels: {tier: front, role: web}
datacenters:
  ams:
    labels: {tier: ams}
    hosts:
      web-[01:03]: {address: "10.0.0.[11:13]", port: "[2201:2203]", labels: {rack: "r[1,1,2]", slot: "[7:9]"}}
      db-01:
        user: postgres
        become: none
        labels:
          role: db
  fra:
    hosts: ["api-[1:2]", lone]
)yaml");
  auto fleet = load_fleet(path);
  ::setenv("HOME", kept.c_str(), 1);
  CHECK(fleet.name == "shop");
  CHECK(fleet.is_protected);
  CHECK(fleet.link == Fleet::LinkKind::ssh);
  CHECK(fleet.folder == dir.path());
  CHECK(fleet.ledger == dir / "state/ledger.db");
  CHECK(fleet.store == "/var/store");
  CHECK(fleet.ssh.identity == "/home/someone/.ssh/deploy");
  CHECK(fleet.ssh.known_hosts == dir / "keys/known");
  CHECK(fleet.ssh.timeouts.total() == Millis(12000));
  CHECK(fleet.ssh.heartbeat == Millis(5000));
  CHECK(fleet.ssh.max_handshakes == 4);
  CHECK(fleet.ssh.max_sessions == 20);
  CHECK(fleet.datacenters == std::vector<std::string>{"ams", "fra"});
  CHECK(names(fleet) == "web-01 web-02 web-03 db-01 api-1 api-2 lone");

  const auto* web = fleet.find("web-03");
  REQUIRE(web);
  CHECK(web->address.address == "10.0.0.13");
  CHECK(web->address.port == 2203);
  CHECK(web->address.user == "deploy");
  CHECK(web->address.become == "sudo");
  CHECK(web->address.state_dir == "/opt/ripcord");
  CHECK(web->line == 21);
  CHECK(web->labels == Labels{{"tier", "ams"}, {"role", "web"}, {"rack", "r2"}, {"slot", "9"}, {"host", "web-03"},
                              {"datacenter", "ams"}, {"fleet", "shop"}, {"address", "10.0.0.13"}});
  const auto* db = fleet.find("db-01");
  CHECK(db->address.user == "postgres");
  CHECK(db->address.become.empty());
  CHECK(db->address.address == "db-01");
  CHECK(db->labels.at("role") == "db");
  CHECK(db->line == 22);
  CHECK(fleet.find("lone")->labels.at("tier") == "front");
  CHECK(fleet.find("nobody") == nullptr);
  CHECK(fleet.select(Selector::parse("role=web,datacenter=ams")).size() == 3);
}

TEST_CASE("fleet: defaults, and files that lie beside it") {
  TempDir dir;
  auto path = dir.write("fleet.yaml", "fleet: f\ndatacenters: {a: {hosts: h}}\n");
  auto fleet = load_fleet(path);
  CHECK(fleet.ledger == dir / ".ripcord/ledger.db");
  CHECK(fleet.store == dir / ".ripcord/store");
  CHECK(fleet.ssh.known_hosts.empty());
  CHECK(fleet.ssh.config.empty());
  CHECK(fleet.ssh.heartbeat == Millis(2000));
  CHECK(fleet.ssh.max_handshakes == 8);
  dir.write("known_hosts", "");
  dir.write("ssh_config", "");
  fleet = load_fleet(path);
  CHECK(fleet.ssh.known_hosts == dir / "known_hosts");
  CHECK(fleet.ssh.config == dir / "ssh_config");

  auto local = decode_fleet(path, "fleet: f\nlink: local\nlocal: {dir: machines}\ndatacenters: {a: {hosts: h}}\n");
  CHECK(local.link == Fleet::LinkKind::local);
  CHECK(local.hosts[0].address.folder == dir / "machines/h");
  CHECK(local.hosts[0].labels.at("address") == "127.0.0.1");
  CHECK(decode_fleet(path, "fleet: f\nlink: local\ndatacenters: {a: {hosts: h}}\n").local_dir == dir / "hosts");
}

TEST_CASE("fleet: mistakes have their place") {
  CHECK(mistakes("fleet: f\ndatacenters:\n  a:\n    hosts:\n      web-[1:3]: {adress: x}\n      web-2:\n") ==
        "fleet.yaml:5:19: unknown key 'adress', did you mean 'address'?\n"
        "   5 |       web-[1:3]: {adress: x}\n"
        "     |                   ^~~~~~\n"
        "fleet.yaml:6:7: host 'web-2' is listed twice, first in line 5\n"
        "   6 |       web-2:\n"
        "     |       ^~~~~");
  const std::string head = "fleet: f\ndatacenters:\n";
  CHECK(short_mistakes("fleet: f\n") == "1:1: missing key 'datacenters'\n");
  CHECK(short_mistakes("fleet: f\ndatacenters: {}\n") == "2:14: a fleet needs at least one datacenter\n");
  CHECK(short_mistakes(head + "  a:\n") == "3:3: datacenter 'a' has no hosts\n");
  CHECK(short_mistakes(head + "  a: {hosts: []}\n  b: {hosts: {}}\n  c: {hosts: }\n") ==
        "3:3: datacenter 'a' has no hosts\n4:3: datacenter 'b' has no hosts\n5:3: datacenter 'c' has no hosts\n");
  CHECK(short_mistakes(head + "  a: {hosts: [Web-01]}\n") == "3:15: 'Web-01' is not a host's name (lower-case letters, digits, '.', '_', '-')\n");
  CHECK(short_mistakes(head + "  a: {hosts: {\"h[1:3]\": {address: \"10.0.0.[1:2]\"}}}\n") == "3:35: a range of 2 values for 3 hosts\n");
  CHECK(short_mistakes(head + "  a: {hosts: {h: {address: \"-oProxyCommand=x\"}}}\n") ==
        "3:28: '-oProxyCommand=x' is not an address (a name or a number as ssh would take it)\n");
  CHECK(short_mistakes(head + "  a: {hosts: {h: {port: 70000, user: -x, become: su}}}\n") ==
        "3:25: '70000' is not a port (1 to 65535)\n3:38: '-x' is not a user's name\n3:50: expected one of sudo, none, found 'su'\n");
  CHECK(short_mistakes(head + "  a: {hosts: h, labels: {host: x, Role: y, note: \"a b\", r: \"[1:2]\"}}\n") ==
        "3:26: label 'host' is set by ripcord itself, choose another name\n"
        "3:35: 'Role' is not a label's name (lower-case letters, digits and '_', first a letter)\n"
        "3:50: 'a b' is not a label's value (up to 128 printable ASCII characters without blanks, quotes, '\\', '$', ';')\n"
        "3:60: a range of 2 values for 1 host\n");
  CHECK(short_mistakes("fleet: f\nlink: telnet\nssh: {timeouts: {connect: 1ms}}\ndatacenters: {a: {hosts: h}}\n") ==
        "2:7: expected one of ssh, local, found 'telnet'\n3:27: a timeout is between 100ms and 10m\n");
  auto words = mistakes("fleet: f\nledger: \"host=db1 password=s3cret\"\ndatacenters: {a: {hosts: h}}\n");
  CHECK(words.starts_with("fleet.yaml:2:9: a ledger is a file on this machine or a PostgreSQL database (postgresql://HOST/DATABASE)"));
  CHECK(words.find("s3cret") == std::string::npos);
  auto postgres = mistakes("fleet: f\nledger: postgresql://me:s3c%zzret@db/x\ndatacenters: {a: {hosts: h}}\n");
  CHECK(postgres == "fleet.yaml:2:9: the ledger's address is not a PostgreSQL connection string; signs like @ : / % in a password are written as "
                    "%40 %3A %2F %25\n   2 | ledger: postgresql://***@db/x");
}

TEST_CASE("fleet: an executable inventory prints the same as JSON") {
  TempDir dir;
  auto program = [&](const std::string& body) { return dir.write("inventory", "#!/bin/sh\n" + body, 0755); };
  auto path = program("echo '{\"fleet\": \"f\", \"datacenters\":\n {\"a\": {\"hosts\": {\"h[1:2]\": {\"labels\": {\"cwd\": \"'$(basename $(pwd))'\"}}}}}}'\n");
  CHECK(is_inventory_program(path));
  auto fleet = load_fleet(path);
  CHECK(names(fleet) == "h1 h2");
  CHECK(fleet.folder == dir.path());
  CHECK(dir / fleet.hosts[0].labels.at("cwd") == dir.path() + "/" + dir.path().substr(dir.path().rfind('/') + 1));

  auto says = [&](const std::string& body, Millis deadline = Millis(10000)) {
    try {
      run_inventory(program(body), deadline);
    } catch (const Error& e) {
      CHECK(e.exit() == Exit::invalid_file);
      return e.message();
    }
    return std::string();
  };
  CHECK(says("echo broken >&2; exit 3\n") == "inventory '" + path + "' ended with exit code 3; it said:\nbroken");
  CHECK(says("kill -9 $$\n") == "inventory '" + path + "' was ended by signal 9");
  auto before = boot_now();
  CHECK(says("sleep 30\n", Millis(200)) == "inventory '" + path + "' was not done within 200ms and has been stopped");
  CHECK(says("sleep 30 & exit 0\n") == "");  // a child that keeps the pipe open is not waited for
  CHECK(boot_now() - before < Millis(5000));
  CHECK(run_inventory(program("head -c 300000 /dev/zero | tr '\\0' x\n")).size() == 300000);

  // A fleet.yaml with an execute bit is still read, and mistakes in what a program prints are shown.
  auto plain = dir.write("fleet.yaml", "fleet: f\ndatacenters: {a: {hosts: h}}\n", 0755);
  CHECK_FALSE(is_inventory_program(plain));
  CHECK(load_fleet(plain).hosts.size() == 1);
  auto wrong = program("echo '{\"fleet\": \"f\", \"datacentres\": {}}'\n");
  CHECK_THROWS_WITH(load_fleet(wrong), Catch::Matchers::Contains("unknown key 'datacentres', did you mean 'datacenters'?"));
}

TEST_CASE("fleet: ten thousand hosts") {
  auto fleet = decode_fleet("/x/fleet.yaml", "fleet: f\ndatacenters:\n  a: {hosts: {\"h[00000:09999]\": {labels: {rack: \"r[0000:9999]\"}}}}\n");
  CHECK(fleet.hosts.size() == 10000);
  CHECK(fleet.hosts[9999].labels.at("rack") == "r9999");
  CHECK(short_mistakes("fleet: f\ndatacenters: {a: {hosts: \"h[00001:99999]\"}, b: {hosts: \"g[0:1]\"}}\n") == "2:56: more than 100000 hosts\n");
}
