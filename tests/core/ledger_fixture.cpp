#include "tests/core/ledger_fixture.hpp"

#include <fmt/format.h>
#include <openssl/sha.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

namespace ripcord::test {
namespace {

// SHA-256(0x00 || line) by OpenSSL's one-shot call: not the code under test.
std::string plain_leaf(const std::string& line) {
  std::string input = std::string(1, '\0') + line;
  unsigned char out[32];
  SHA256(reinterpret_cast<const unsigned char*>(input.data()), input.size(), out);
  std::string hex;
  for (unsigned char c : out) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", c);
    hex += digits;
  }
  return hex;
}

}  // namespace

json::object body(std::string kind, std::int64_t n) {
  json::object o;
  o["kind"] = std::move(kind);
  o["n"] = n;
  return o;
}

LedgerStore::Stamp stamp(std::int64_t n) {
  return [n](std::int64_t seq, const Digest& prev) {
    json::object o;
    o["seq"] = seq;
    o["prev"] = prev.hex();
    o["n"] = n;
    return json::serialize(o);
  };
}

Lease wanted(std::string holder) {
  Lease l;
  l.scope = "storefront";
  l.holder = std::move(holder);
  l.who = "alice";
  l.machine = "desk";
  l.rollout = "r1";
  l.why = "test";
  return l;
}

void require_chain(const std::vector<LedgerEntry>& entries) {
  std::string prev(64, '0');
  std::int64_t seq = 0;
  for (const auto& e : entries) {
    std::string start = "{\"seq\":" + std::to_string(seq) + ",\"prev\":\"" + prev + "\",";
    REQUIRE(e.line.substr(0, start.size()) == start);
    prev = plain_leaf(e.line);
    REQUIRE(e.leaf.hex() == prev);
    ++seq;
  }
}

std::multiset<std::int64_t> numbers(LedgerStore& store) {
  std::multiset<std::int64_t> out;
  for (const auto& e : store.read(1, 100000)) out.insert(get_int(e.body, "n"));
  return out;
}

Child::Child(const std::function<std::string()>& f) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    ::close(ends[0]);
    std::string said;
    try {
      said = f();
    } catch (const std::exception& e) {
      said = std::string("threw: ") + e.what();
    }
    if (::write(ends[1], said.data(), said.size()) < 0) ::_exit(2);
    ::_exit(0);
  }
  ::close(ends[1]);
  from.reset(ends[0]);
}

std::string Child::finish() {
  std::string said;
  char buffer[4096];
  for (ssize_t n; (n = ::read(from.get(), buffer, sizeof buffer)) > 0;) said.append(buffer, static_cast<std::size_t>(n));
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? said : "died";
}

std::vector<LedgerEntry> Bench::append(std::vector<json::object> bodies, std::optional<LedgerStore::Guard> guard) {
  std::vector<LedgerEntry> out;
  run_to_end(loop, keep(std::move(bodies), std::move(guard), &out));
  return out;
}

Task<> Bench::keep(std::vector<json::object> bodies, std::optional<LedgerStore::Guard> guard, std::vector<LedgerEntry>* out) {
  *out = co_await ledger.append(std::move(bodies), std::move(guard));
}

Task<> Bench::note_error(std::vector<json::object> bodies, std::optional<LedgerStore::Guard> guard, std::string* message, Exit* exit) {
  try {
    co_await ledger.append(std::move(bodies), std::move(guard));
  } catch (const Error& e) {
    *message = e.what();
    *exit = e.exit();
  }
}

PgServer& shared_pg() {
  static PgServer server;
  return server;
}

PgSchema::PgSchema() {
  static int schemas = 0;
  name = fmt::format("s{}", ++schemas);
  shared_pg().sql("CREATE SCHEMA " + name);
  url = shared_pg().url() + options();
}

std::string PgSchema::options() const { return "?options=-csearch_path%3D" + name; }

bool no_postgres() {
  if (PgServer::available()) return false;
  WARN("skipped: needs the package postgresql");
  return true;
}

}  // namespace ripcord::test
