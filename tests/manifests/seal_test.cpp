// Every case is put to ssh-keygen too: our verdict and its answer must be the same, and what we expect.
#include "manifests/shared/seal.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <random>

#include "core/base/error.hpp"
#include "core/base/files.hpp"
#include "core/base/process.hpp"
#include "core/base/ssh_wire.hpp"
#include "manifests/release_store.hpp"
#include "manifests/shared/allowed_signers.hpp"
#include "manifests/shared/manifest.hpp"
#include "manifests/shared/sshsig.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"

using namespace ripcord;
using test::TempDir;

namespace {

RunResult run(std::vector<std::string> argv, const std::string& input = "") {
  Command command;
  command.argv = std::move(argv);
  command.input = input;
  return run_process(command, Millis(30000), 1 << 20);
}

const std::string kMessage = "{\"format\":1}\n";

// Keys are made once: RSA takes its time.
struct Keys {
  TempDir dir;
  std::map<std::string, std::string> publics;  // name -> "ssh-ed25519 AAAA..." without comment
  Keys() {
    make("ed25519", {"-t", "ed25519"});
    make("p256", {"-t", "ecdsa", "-b", "256"});
    make("p384", {"-t", "ecdsa", "-b", "384"});
    make("p521", {"-t", "ecdsa", "-b", "521"});
    make("rsa", {"-t", "rsa", "-b", "2048", "-m", "PEM"});
    make("other", {"-t", "ed25519"});
    make("short", {"-t", "rsa", "-b", "1024"});
  }
  void make(const std::string& name, std::vector<std::string> how) {
    std::vector<std::string> argv{"ssh-keygen", "-q", "-N", "", "-C", "", "-f", dir / name};
    argv.insert(argv.end(), how.begin(), how.end());
    REQUIRE(run(argv).ok());
    publics[name] = trim(read_file(dir / (name + ".pub")));
  }
  std::string sign(const std::string& name, std::string_view name_space = kSealNamespace, const std::string& hash = "") const {
    std::vector<std::string> argv{"ssh-keygen", "-Y", "sign", "-n", std::string(name_space), "-f", dir / name};
    if (!hash.empty()) argv.insert(argv.end(), {"-O", "hashalg=" + hash});
    auto output = run(argv, kMessage).output;
    auto begin = output.find("-----BEGIN");
    REQUIRE(begin != std::string::npos);
    return output.substr(begin);
  }
};
Keys& keys() {
  static Keys all;
  return all;
}

bool ssh_keygen_says(const std::string& message, const std::string& armored, const std::string& allowed, std::vector<std::string> principals) {
  TempDir dir;
  auto signature = dir.write("sig", armored), signers = dir.write("allowed", allowed);
  auto found = run({"ssh-keygen", "-Y", "find-principals", "-s", signature, "-f", signers});
  for (const auto& line : split(found.output, '\n'))
    for (const auto& name : split(trim(line), ','))
      if (!name.empty() && found.ok()) principals.push_back(name);
  for (const auto& p : principals)
    if (run({"ssh-keygen", "-Y", "verify", "-f", signers, "-I", p, "-n", std::string(kSealNamespace), "-s", signature}, message).ok()) return true;
  return false;
}

// Replaces {KEY} by the public key that signed and {OTHER} by another.
std::string filled(std::string text, const std::string& key) {
  for (auto [word, value] : {std::pair<std::string, std::string>{"{KEY}", keys().publics[key]}, {"{OTHER}", keys().publics["other"]}})
    for (auto at = text.find(word); at != std::string::npos; at = text.find(word)) text.replace(at, word.size(), value);
  return text;
}

SealVerdict check_same(const std::string& message, const std::string& armored, const std::string& allowed, bool expected) {
  auto verdict = verify_seal(message, armored, allowed, kSealNamespace, wall_now());
  INFO("allowed signers:\n" << allowed << "\nwhy: " << verdict.why);
  CHECK(verdict.trusted == expected);
  CHECK(verdict.trusted == verdict.why.empty());
  // When we trust, ssh-keygen must agree about exactly the principal that we name.
  CHECK(ssh_keygen_says(message, armored, allowed, verdict.trusted ? std::vector<std::string>{} : std::vector<std::string>{"alice", "bob"}) == expected);
  if (verdict.trusted) {
    TempDir dir;
    CHECK(run({"ssh-keygen", "-Y", "verify", "-f", dir.write("a", allowed), "-I", verdict.principal, "-n", std::string(kSealNamespace), "-s",
               dir.write("s", armored)}, message).ok());
  }
  return verdict;
}

std::string armor(std::string_view blob) {
  return "-----BEGIN SSH SIGNATURE-----\n" + base64(blob) + "\n-----END SSH SIGNATURE-----\n";
}

std::string dearmor(const std::string& armored) {
  auto begin = armored.find('\n'), end = armored.find("\n-----END");
  return decode_base64(std::string_view(armored).substr(begin, end - begin));
}

}  // namespace

TEST_CASE("seal: each kind of key, each way to be right or wrong, as ssh-keygen says") {
  struct Case {
    const char* name;
    const char* allowed;
    bool trusted;
    const char* why;  // part of it
  };
  const Case cases[] = {
      {"right", "alice {KEY}\n", true, ""},
      {"other key", "alice {OTHER}\n", false, "is not among the allowed signers"},
      {"nobody", "", false, "is not among the allowed signers"},
      {"expired", "alice valid-before=\"20200101\" {KEY}\n", false, "it is not valid any more (valid-before)"},
      {"not yet", "alice valid-after=\"20990101Z\" {KEY}\n", false, "it is not valid yet (valid-after)"},
      {"inside its time", "alice valid-after=\"20200101\",valid-before=\"20990101120000Z\" {KEY}\n", true, ""},
      {"its namespace", "alice namespaces=\"git,ripcord-release\" {KEY}\n", true, ""},
      {"another namespace", "alice namespaces=\"git,file\" {KEY}\n", false, "it may sign only for namespaces=\"git,file\""},
      {"authority", "alice cert-authority {KEY}\n", false, "it is a certificate authority"},
      {"second line", "bob {OTHER}\nalice {KEY} comment here\n", true, ""},
  };
  for (const char* key : {"ed25519", "p256", "p384", "p521", "rsa"}) {
    auto signature = keys().sign(key);
    for (const auto& c : cases) {
      DYNAMIC_SECTION(key << ": " << c.name) {
        auto verdict = check_same(kMessage, signature, filled(c.allowed, key), c.trusted);
        if (c.trusted) CHECK(verdict.principal == "alice");
        else CHECK(verdict.why.find(c.why) != std::string::npos);
        CHECK(verdict.fingerprint == split(run({"ssh-keygen", "-l", "-f", keys().dir / (std::string(key) + ".pub")}).output, ' ')[1]);
      }
    }
    auto allowed = filled("alice {KEY}\n", key);
    DYNAMIC_SECTION(key << ": other namespace") {
      auto verdict = check_same(kMessage, keys().sign(key, "file"), allowed, false);
      CHECK(verdict.why == "the signature is for namespace 'file', not 'ripcord-release'");
    }
    DYNAMIC_SECTION(key << ": altered message") {
      auto verdict = check_same(kMessage + " ", signature, allowed, false);
      CHECK(verdict.why == "the signature does not belong to these bytes: they were changed, or it is another release's");
      check_same("", signature, allowed, false);
    }
    DYNAMIC_SECTION(key << ": hashes") {
      check_same(kMessage, keys().sign(key, kSealNamespace, "sha256"), allowed, true);
      check_same(kMessage, keys().sign(key, kSealNamespace, "sha512"), allowed, true);
    }
    DYNAMIC_SECTION(key << ": damaged armor") {
      check_same(kMessage, signature.substr(0, signature.size() / 2), allowed, false);
      check_same(kMessage, signature.substr(0, signature.find("-----END")), allowed, false);
      auto blob = dearmor(signature);
      check_same(kMessage, armor(blob), allowed, true);
      check_same(kMessage, armor(blob.substr(0, blob.size() - 1)), allowed, false);
      check_same(kMessage, armor(blob + "x"), allowed, false);
    }
  }
}

TEST_CASE("seal: the grammar of allowed_signers is ssh-keygen's") {
  struct Case {
    const char* allowed;
    bool trusted;
  };
  const Case cases[] = {
      {"# comment\n\n   \nalice {KEY}\n", true},
      {"alice {KEY}\r\n", true},
      {"# c\r\n\r\nalice {KEY} me@here\r\n", true},
      {"alice {KEY}", true},
      {"  \t alice \t {KEY} \t comment\n", true},
      {"alice\t{KEY}\n", true},
      {"\"alice\" {KEY}\n", true},
      {"\"alice,bob smith\" {KEY}\n", true},
      {"\"alice {KEY}\n", false},
      {"alice,bob@example.com {KEY}\n", true},
      {"*@example.com {KEY}\n", true},
      {"* {KEY}\n", true},
      {"al?ce {KEY}\n", true},
      {"!alice {KEY}\n", false},
      {"!alice,* {KEY}\n", true},
      {"!*,alice {KEY}\n", false},
      {"alice,!alice {KEY}\n", false},
      {"alice\n", false},
      {"{KEY}\n", false},
      {"alice ssh-ed25519\n", false},
      {"alice ssh-ed25519 \n", false},
      {"alice unknown-option {KEY}\n", false},
      {"alice CERT-AUTHORITY {KEY}\n", false},
      {"alice NameSpaces=\"ripcord-release\" {KEY}\n", true},
      {"alice namespaces=\"ripcord-*\" {KEY}\n", true},
      {"alice namespaces=\"!ripcord-release,*\" {KEY}\n", false},
      {"alice namespaces=\"\" {KEY}\n", false},
      {"alice namespaces=ripcord-release {KEY}\n", false},
      {"alice namespaces=\"a b,ripcord-release\" {KEY}\n", true},
      {"alice namespaces=\"ripcord-release\",namespaces=\"x\" {KEY}\n", false},
      {"alice namespaces=\"ripcord-release\", {KEY}\n", false},
      {"alice namespaces=\"ripcord-release\"x {KEY}\n", false},
      {"alice namespaces=\"ripcord-release {KEY}\n", false},
      {"alice valid-after=\"2020\" {KEY}\n", false},
      {"alice valid-after=\"20200101x\" {KEY}\n", false},
      {"alice valid-after=\"20201301\" {KEY}\n", false},
      {"alice valid-after=\"202001011200\" {KEY}\n", true},
      {"alice valid-after=\"20200101120000\" {KEY}\n", true},
      {"alice valid-after=\"20200101z\" {KEY}\n", true},
      {"alice valid-after=\"20200101UTC\" {KEY}\n", true},
      {"alice valid-after=\"20200101\",valid-after=\"20200102\" {KEY}\n", false},
      {"alice valid-after=\"20210101\",valid-before=\"20200101\" {KEY}\n", false},
      {"alice valid-before=\"20990101\",valid-after=\"20990101\" {KEY}\n", false},
      {"broken line here\nalice {KEY}\n", true},
      {"bad\nalice {KEY}\n", true},
      {"alice ssh-ed25519 %%%%\nalice {KEY}\n", true},
      {"alice bad-option {OTHER}\nalice {KEY}\n", true},
      {"\"unclosed {OTHER}\nalice {KEY}\n", true},
      {"alice valid-before=\"20200101\" {KEY}\nalice {KEY}\n", true},
      {"alice valid-before=\"20200101\" {KEY}\nbob {KEY}\n", true},
      {"alice cert-authority {KEY}\nbob {KEY}\n", true},
      {"alice namespaces=\"file\" {KEY}\nbob {OTHER}\n", false},
      {"bob {OTHER}\nbob {OTHER}\n", false},
  };
  auto signature = keys().sign("ed25519");
  for (const auto& c : cases) check_same(kMessage, signature, filled(c.allowed, "ed25519"), c.trusted);

  auto good = filled("alice {KEY}\n", "ed25519");
  auto typed = good;
  typed.replace(typed.find("ssh-ed25519"), 11, "ssh-rsa");  // not what the blob says
  check_same(kMessage, signature, typed, false);
  auto cut = good.substr(0, good.size() - 6) + "\n";
  check_same(kMessage, signature, cut, false);
  CHECK(verify_seal(kMessage, signature, "bad\n" + filled("bob {OTHER}\n", ""), kSealNamespace, wall_now()).why.find("(line 1 cannot be read)") !=
        std::string::npos);
}

TEST_CASE("seal: around the armor, as ssh-keygen takes it") {
  auto signature = keys().sign("ed25519"), allowed = filled("alice {KEY}\n", "ed25519");
  auto crlf = signature;
  for (auto at = crlf.find('\n'); at != std::string::npos; at = crlf.find('\n', at + 2)) crlf.replace(at, 1, "\r\n");
  auto joined = "-----BEGIN SSH SIGNATURE-----" + base64(dearmor(signature)) + "\n-----END SSH SIGNATURE-----";
  check_same(kMessage, signature + "and more\n", allowed, true);
  check_same(kMessage, signature + signature, allowed, true);
  check_same(kMessage, " " + signature, allowed, false);
  check_same(kMessage, "\n" + signature, allowed, false);
  check_same(kMessage, "x" + signature, allowed, false);
  check_same(kMessage, crlf, allowed, false);
  check_same(kMessage, joined, allowed, false);
  check_same(kMessage, "-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n", allowed, false);
  check_same(kMessage, signature.substr(0, signature.size() - 1), allowed, true);
  check_same(kMessage, "nonsense", allowed, false);
  CHECK(verify_seal(kMessage, "", allowed, kSealNamespace, wall_now()).why == "the release is not signed");
  CHECK(verify_seal(kMessage, std::string(1 << 20, 'x'), allowed, kSealNamespace, wall_now()).why ==
        "the signature cannot be used: it is larger than 64.0 KiB");
}

TEST_CASE("seal: RSA with each algorithm that a signature may name") {
  std::string key = decode_base64(split(keys().publics["rsa"], ' ')[1]), signed_data = "SSHSIG";
  auto digest = sha256(kMessage);
  put_string(signed_data, kSealNamespace);
  put_string(signed_data, "");
  put_string(signed_data, "sha256");
  put_string(signed_data, {reinterpret_cast<const char*>(digest.bytes.data()), 32});
  for (auto [algorithm, hash, trusted] : {std::tuple<std::string, std::string, bool>{"rsa-sha2-256", "sha256", true},
                                          {"rsa-sha2-512", "sha512", true}, {"ssh-rsa", "sha1", false}, {"rsa-sha2-256", "sha512", false}}) {
    TempDir dir;
    REQUIRE(run({"openssl", "dgst", "-" + hash, "-sign", keys().dir / "rsa", "-out", dir / "raw", dir.write("data", signed_data)}).ok());
    std::string inner, blob = std::string("SSHSIG\0\0\0\1", 10);
    put_string(inner, algorithm);
    put_string(inner, read_file(dir / "raw"));
    put_string(blob, key);
    put_string(blob, kSealNamespace);
    put_string(blob, "");
    put_string(blob, "sha256");
    put_string(blob, inner);
    auto verdict = check_same(kMessage, armor(blob), filled("alice {KEY}\n", "rsa"), trusted);
    if (algorithm == "ssh-rsa")
      CHECK(verdict.why == "the signature cannot be used: RSA with 'ssh-rsa' is not trusted (rsa-sha2-256 and rsa-sha2-512 are)");
  }
}

TEST_CASE("seal: stricter than ssh-keygen where the header says so") {
  auto verdict = verify_seal(kMessage, keys().sign("short"), filled("alice {KEY}\n", "short"), kSealNamespace, wall_now());
  CHECK(verdict.why == "the signature cannot be used: an RSA key of 1024 bits is not trusted (at least 2048 are needed)");

  TempDir dir;
  for (const char* name : {"ed25519", "ed25519.pub"}) std::filesystem::copy(keys().dir / name, dir / name);
  REQUIRE(run({"ssh-keygen", "-q", "-s", keys().dir / "other", "-I", "id", "-n", "alice", dir / "ed25519.pub"}).ok());
  auto output = run({"ssh-keygen", "-Y", "sign", "-n", std::string(kSealNamespace), "-f", dir / "ed25519-cert.pub"}, kMessage).output;
  auto begin = output.find("-----BEGIN");
  REQUIRE(begin != std::string::npos);
  verdict = verify_seal(kMessage, output.substr(begin), filled("alice cert-authority {OTHER}\nalice {KEY}\n", "ed25519"), kSealNamespace, wall_now());
  CHECK_FALSE(verdict.trusted);
  CHECK(verdict.why.find("keys of type 'ssh-ed25519-cert-v01@openssh.com' are not trusted") != std::string::npos);
}

TEST_CASE("seal: no flipped bit is believed, none crashes") {
  std::mt19937 random(1);
  for (const char* key : {"ed25519", "p256", "p521", "rsa"}) {
    auto blob = dearmor(keys().sign(key));
    auto allowed = filled("alice {KEY}\n", key);
    REQUIRE(verify_seal(kMessage, armor(blob), allowed, kSealNamespace, wall_now()).trusted);
    for (int i = 0; i < 1000; ++i) {
      auto bad = blob;
      bad[random() % bad.size()] ^= static_cast<char>(1 << random() % 8);
      if (random() % 4 == 0) bad[random() % bad.size()] = static_cast<char>(random());
      if (bad == blob) continue;
      auto verdict = verify_seal(kMessage, armor(bad), allowed, kSealNamespace, wall_now());
      if (verdict.trusted) {
        INFO(armor(bad));
        // OpenSSH ignores what stands in `reserved` and pads; nothing else may pass.
        REQUIRE(ssh_keygen_says(kMessage, armor(bad), allowed, {"alice"}));
      }
    }
    for (std::size_t size = 0; size < blob.size(); ++size)
      REQUIRE_FALSE(verify_seal(kMessage, armor(blob.substr(0, size)), allowed, kSealNamespace, wall_now()).trusted);
  }
}

TEST_CASE("seal: allowed_signers of random bytes are read without harm") {
  std::mt19937 random(2);
  const std::string pieces[] = {"alice", "\"", " ", "\n", "\\\"", "namespaces=", "\"x\"", ",", "cert-authority", "ssh-ed25519", "AAAA", "valid-after=", std::string(1, '\0'), "\xff"};
  for (int i = 0; i < 3000; ++i) {
    std::string text;
    for (auto n = random() % 30; n > 0; --n) text += pieces[random() % std::size(pieces)];
    auto all = parse_allowed_signers(text);
    REQUIRE(all.signers.size() + all.bad_lines.size() <= split(text, '\n').size());
  }
}

TEST_CASE("seal: signed by ssh-keygen, with a key file or through ssh-agent") {
  auto armored = sign_with_ssh_keygen(keys().dir / "p256", kMessage);
  CHECK(verify_seal(kMessage, armored, filled("alice {KEY}\n", "p256"), kSealNamespace, wall_now()).trusted);
  CHECK(armored.substr(0, 29) == "-----BEGIN SSH SIGNATURE-----");
  std::string large(3 << 20, 'm');
  CHECK(verify_seal(large, sign_with_ssh_keygen(keys().dir / "p256", large), filled("alice {KEY}\n", "p256"), kSealNamespace, wall_now()).trusted);

  TempDir dir;
  std::string socket = dir / "agent";
  Command agent;
  agent.argv = {"ssh-agent", "-D", "-a", socket};
  auto process = start_detached(agent, "");
  for (int i = 0; i < 200 && !exists(socket); ++i) ::usleep(20000);
  const char* before = ::getenv("SSH_AUTH_SOCK");
  std::string kept = before ? before : "";
  ::setenv("SSH_AUTH_SOCK", socket.c_str(), 1);
  CHECK(run({"ssh-add", "-q", keys().dir / "ed25519"}).ok());
  auto only_public = dir.write("public-half.pub", keys().publics["ed25519"] + "\n");
  auto through_agent = sign_with_ssh_keygen(only_public, kMessage);
  ::kill(process.pid, SIGTERM);
  while (is_alive(process)) ::usleep(10000);
  reap(process.pid);
  if (before) ::setenv("SSH_AUTH_SOCK", kept.c_str(), 1);
  else ::unsetenv("SSH_AUTH_SOCK");
  CHECK(verify_seal(kMessage, through_agent, filled("alice {KEY}\n", "ed25519"), kSealNamespace, wall_now()).trusted);

  try {
    sign_with_ssh_keygen(dir / "no such key", kMessage);
    FAIL("signed with nothing");
  } catch (const Error& e) {
    std::string what = e.what();
    CHECK(what.find("cannot sign with '" + (dir / "no such key") + "': ssh-keygen exit status 255: ") == 0);
    CHECK(what.find("No such file or directory") != std::string::npos);
    CHECK(e.hint().find("ssh-keygen -Y sign -n ripcord-release -f '" + (dir / "no such key") + "' FILE") != std::string::npos);
  }
}
