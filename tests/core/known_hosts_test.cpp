#include "core/net/known_hosts.hpp"

#include "core/base/digest.hpp"
#include "core/base/process.hpp"
#include "core/base/ssh_wire.hpp"
#include "core/base/text.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

std::string blob(const std::string& type, const std::string& seed) {
  std::string out;
  put_string(out, type);
  auto digest = sha256(seed);
  put_string(out, {reinterpret_cast<const char*>(digest.bytes.data()), 32});
  return out;
}
std::string key(const std::string& type, const std::string& seed) { return type + " " + base64(blob(type, seed)); }

std::vector<int> lines(const KnownHosts& hosts, const std::string& host, int port = 22) {
  std::vector<int> out;
  for (const auto* k : hosts.find(host, port)) out.push_back(k->line);
  return out;
}

}  // namespace

TEST_CASE("known_hosts: names, lists, ports, patterns and negation") {
  KnownHosts hosts;
  std::string k = " " + key("ssh-ed25519", "a") + " comment\n";
  hosts.add_file("kh", "web-1,10.0.0.1" + k + "[web-1]:2222" + k + "*.example.org,!bad.example.org" + k + "DB-?" + k + "# note\n\n   \n");
  CHECK(lines(hosts, "web-1") == std::vector<int>{1});
  CHECK(lines(hosts, "WEB-1") == std::vector<int>{1});
  CHECK(lines(hosts, "10.0.0.1") == std::vector<int>{1});
  CHECK(lines(hosts, "web-1", 2222) == std::vector<int>{2, 1});  // the plain line counts too, later
  CHECK(lines(hosts, "web-1", 2200) == std::vector<int>{1});
  CHECK(lines(hosts, "a.example.org") == std::vector<int>{3});
  CHECK(lines(hosts, "bad.example.org").empty());
  CHECK(lines(hosts, "db-7") == std::vector<int>{4});
  CHECK(lines(hosts, "db-77").empty());
  CHECK(lines(hosts, "web").empty());
  CHECK(hosts.notes().empty());
}

TEST_CASE("known_hosts: hashed names as ssh-keygen -H makes them") {
  TempDir dir;
  std::string k = " " + key("ssh-ed25519", "a") + "\n";
  auto path = dir.write("kh", "web-1" + k + "[127.0.0.5]:2222" + k);
  Command hash;
  hash.argv = {"ssh-keygen", "-q", "-H", "-f", path};
  REQUIRE(run_process(hash, Millis(10000)).ok());
  auto hosts = KnownHosts::load({path, dir / "absent"});
  CHECK(hosts.size() == 2);
  CHECK(lines(hosts, "web-1") == std::vector<int>{1});
  CHECK(lines(hosts, "127.0.0.5", 2222) == std::vector<int>{2});
  CHECK(lines(hosts, "web-2").empty());
}

TEST_CASE("known_hosts: bad lines are noted and lose nothing else") {
  KnownHosts hosts;
  hosts.add_file("kh", "web-1\nweb-1 ssh-ed25519 !!!\nweb-1 ssh-rsa " + base64(blob("ssh-ed25519", "a")) + "\n@cert-authority * " +
                           key("ssh-ed25519", "ca") + "\n@what web-1 " + key("ssh-ed25519", "x") + "\n|1|xx|yy " + key("ssh-ed25519", "x") +
                           "\nweb-1 " + key("ssh-ed25519", "a"));
  CHECK(lines(hosts, "web-1") == std::vector<int>{7});
  CHECK(hosts.notes() == std::vector<std::string>{"kh:1: there is no base64 key in the third column, the line is ignored",
                                                  "kh:2: there is no base64 key in the third column, the line is ignored",
                                                  "kh:3: the key is of another type than the line says, the line is ignored",
                                                  "kh:4: @cert-authority is not supported, the line is ignored",
                                                  "kh:5: the marker is neither @revoked nor @cert-authority, the line is ignored",
                                                  "kh:6: the hashed name is damaged, the line is ignored"});
}

TEST_CASE("known_hosts: the judgement") {
  KnownHosts hosts;
  hosts.add_file("kh", "web-1 " + key("ssh-ed25519", "a") + "\nweb-2 " + key("ecdsa-sha2-nistp256", "b") + "\n@revoked * " + key("ssh-ed25519", "r") +
                           "\nweb-3 " + key("ssh-ed25519", "r") + "\n");
  auto judge = [&](const char* host, const char* type, const char* seed) { return judge_host_key(hosts.find(host, 22), blob(type, seed)); };
  CHECK(judge("web-1", "ssh-ed25519", "a").verdict == HostKeyVerdict::known);
  CHECK(judge("web-1", "ssh-ed25519", "b").verdict == HostKeyVerdict::changed);
  CHECK(judge("web-1", "ssh-ed25519", "b").line->line == 1);
  CHECK(judge("web-2", "ssh-ed25519", "a").verdict == HostKeyVerdict::unknown);
  CHECK(judge("web-2", "ssh-ed25519", "a").line->line == 2);
  CHECK(judge("web-9", "ssh-ed25519", "a").verdict == HostKeyVerdict::unknown);
  CHECK(judge("web-9", "ssh-ed25519", "a").line == nullptr);
  CHECK(judge("web-3", "ssh-ed25519", "r").verdict == HostKeyVerdict::revoked);
}

TEST_CASE("known_hosts: a fingerprint is what ssh-keygen prints") {
  TempDir dir;
  auto path = dir.write("k.pub", key("ssh-ed25519", "a") + " c\n");
  Command command;
  command.argv = {"ssh-keygen", "-lf", path};
  auto result = run_process(command, Millis(10000));
  REQUIRE(result.ok());
  CHECK(result.output.find(ssh_fingerprint(blob("ssh-ed25519", "a"))) != std::string::npos);
  for (std::string text : {"", "a", "ab", "abc", "abcd"}) CHECK(unbase64(base64(text)) == text);
  CHECK(base64("abcd") == "YWJjZA==");
  for (const char* bad : {"YWJj ", "YWJjZA=", "YWJjZA", "YWJjZB==", "====", "YW=j"}) CHECK(!unbase64(bad));
}
