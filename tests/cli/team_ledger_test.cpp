// A ledger for a team: the built program with a PostgreSQL server, and ledgers that lost entries (promises 2, 3, 11, 15, 16).
#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <set>

#include "core/base/clock.hpp"
#include "core/base/json.hpp"
#include "core/net/ledger_address.hpp"
#include "tests/cli/demo.hpp"
#include "tests/support/pg_server.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

constexpr const char* kSecret = "s3cr3t";

void use_ledger(Demo& demo, const std::string& address) {
  std::ofstream(demo.folder + "/fleet.yaml", std::ios::app) << "ledger: \"" << address << "\"\n";
}

PgServer& server_of_the_team() {
  static PgServer one;
  return one;
}

// As quick as the example gets.
void hurry(Demo& demo, const std::string& bake) {
  demo.replace("plans/hello.yaml", "bake: 3s", "bake: " + bake);
  demo.replace("plans/hello.yaml", "max_parallel: 10", "max_parallel: 10\n    slow_start: false");
  demo.replace("hello/unit.yaml", "min_healthy_time: 1s", "min_healthy_time: 200ms");
  demo.replace("hello/unit.yaml", "interval: 200ms", "interval: 100ms");
}

bool skipped() {
  if (PgServer::available()) return false;
  WARN("skipped: needs the package postgresql");
  return true;
}

std::string version_of(const Demo& demo, const std::string& host) {
  return std::filesystem::path(read_link(demo.folder + "/hosts/" + host + "/srv/hello/current").value_or("")).filename().string().substr(0, 3);
}

// Operations activated on a host, by its own journal: none may be there twice.
int activated(const Demo& demo, const std::string& host) {
  std::set<std::string> ops;
  int n = 0;
  for (const auto& e : std::filesystem::recursive_directory_iterator(demo.folder + "/hosts/" + host)) {
    if (e.path().filename() != "journal") continue;
    for (const auto& line : split(read_file(e.path().string()), '\n')) {
      if (line.empty() || line[0] == '\0') continue;
      auto record = parse_json_object(line, "record");
      if (get_string(record, "kind") == "ACTIVATED") ++n, ops.insert(get_string(record, "op"));
    }
  }
  return static_cast<int>(ops.size()) == n ? n : -1;
}

// Every record of every host journal is in the ledger, once: by host and sequence (promise 3).
void check_imported_once(const std::string& ledger) {
  auto store = open_ledger(ledger, Millis(5000));
  std::set<std::pair<std::string, std::int64_t>> seen;
  for (const auto& e : store->read(0, 100000)) {
    if (get_string_or(e.body, "kind", "") != "host.journal") continue;
    for (const auto& line : get_strings_or_empty(e.body, "records")) {
      auto record = parse_json_object(line, "record");
      CHECK(seen.insert({get_string(e.body, "host_id"), get_int(record, "seq")}).second);
    }
  }
  CHECK(seen.size() > 10);
}

}  // namespace

TEST_CASE("a ledger in PostgreSQL: rolled out, watched by several, steered from elsewhere, and nobody sees the password") {
  if (skipped()) return;
  auto& server = server_of_the_team();
  Demo demo;
  auto address = fmt::format("postgresql://secretive:{}@{}/postgres", kSecret, server.place());
  use_ledger(demo, address);
  hurry(demo, "2s");
  std::string said;
  auto apply = start_detached(demo.command(demo.folder, {"apply", "hello/", "-y"}), demo.folder + "/apply.log");
  for (Elapsed until = boot_now() + Millis(30000); boot_now() < until; ::usleep(100000)) {
    auto status = demo.ripcord({"status"});
    said += status.output;
    if (status.exit == 6) break;
  }
  auto watch = [&](const std::string& log) { return start_detached(demo.command(demo.folder, {"status", "-w", "-o", "jsonl"}), demo.folder + "/" + log); };
  auto one = watch("one.log"), two = watch("two.log");
  auto end_of = [](const ProcessId& p) {
    for (Elapsed until = boot_now() + Millis(60000); boot_now() < until; ::usleep(20000))
      if (auto end = reap(p.pid)) return end->exit;
    return -1;
  };
  auto cmdline = read_file(fmt::format("/proc/{}/cmdline", apply.pid));
  CHECK(cmdline.find(kSecret) == cmdline.npos);
  auto ended = end_of(apply);
  INFO(read_file(demo.folder + "/apply.log"));
  CHECK(ended == 0);
  CHECK(end_of(one) == 0);
  CHECK(end_of(two) == 0);
  for (const char* log : {"one.log", "two.log"}) CHECK(read_file(demo.folder + "/" + log).find("\"kind\":\"rollout.end\"") != std::string::npos);
  auto doctor = demo.ripcord({"doctor"});
  INFO(doctor.output);
  CHECK(doctor.output.find(fmt::format("postgresql://secretive@{}/postgres, head at entry ", server.place())) != std::string::npos);
  said += doctor.output + demo.ripcord({"history", "--all", "-o", "json"}).output + demo.ripcord({"show", "hello"}).output;

  // The database is gone: the cord is pulled all the same, at once, and told later.
  server.kill();
  auto gone = demo.ripcord({"status"});
  CHECK(gone.exit == 1);
  CHECK(gone.output.find("cannot reach ledger 'postgresql://secretive@") != std::string::npos);
  auto begun = boot_now();
  auto back = demo.ripcord({"rollback", "hello", "-y", "-m", "INC-1"});
  INFO(back.output);
  CHECK(back.exit == 0);
  CHECK(boot_now() - begun < Millis(15000));
  CHECK(back.output.find("3 hosts returned") != std::string::npos);
  server.start();
  auto history = demo.ripcord({"history"});
  CHECK(history.output.find("rip cord pulled on hello") != std::string::npos);
  said += gone.output + back.output + history.output;

  CHECK(said.find(kSecret) == said.npos);
  for (const auto& e : std::filesystem::recursive_directory_iterator(demo.folder)) {
    if (!e.is_regular_file() || e.path().filename() == "fleet.yaml") continue;
    INFO(e.path().string());
    CHECK(read_file(e.path().string()).find(kSecret) == std::string::npos);
  }
}

TEST_CASE("an older copy of the ledger was restored: the hosts know better, and reconcile brings it back, once") {
  Demo demo;
  hurry(demo, "0s");
  REQUIRE(demo.ripcord({"apply", "hello/", "-y"}).exit == 0);
  auto ledger = demo.folder + "/.ripcord/ledger.db";
  auto older = read_file(ledger);
  demo.replace("hello/unit.yaml", "\"1.0\"", "\"1.1\"");
  REQUIRE(demo.ripcord({"apply", "hello/", "-y"}).exit == 0);
  write_file_durable(ledger, older, 0600);
  demo.replace("hello/unit.yaml", "\"1.1\"", "\"1.2\"");
  auto refused = demo.ripcord({"apply", "hello/", "-y"});
  INFO(refused.output);
  CHECK(refused.exit == 9);
  CHECK(refused.output.find("the ledger has lost entries: host 'web-01' did operation ") != std::string::npos);
  CHECK(refused.output.find("reconcile hello` brings them back") != std::string::npos);
  for (const char* host : {"web-01", "web-02", "web-03"}) CHECK(version_of(demo, host) == "1.1");

  // Every other way forward, too.
  for (const auto& words : std::vector<std::vector<std::string>>{{"drill", "rollback", "hello", "--outside-window", "-y", "-m", "x"}, {"drift", "repair", "-y", "-m", "x"},
                                                                {"prune", "hello", "-y"}}) {
    auto other = demo.ripcord(words);
    INFO(other.output);
    CHECK(other.exit == 9);
    CHECK(other.output.find("the ledger has lost entries: host 'web-0") != std::string::npos);
  }
  for (const char* host : {"web-01", "web-02", "web-03"}) CHECK(version_of(demo, host) == "1.1");

  auto dry = demo.ripcord({"reconcile", "--dry-run"});
  CHECK(dry.exit == 0);
  CHECK(demo.ripcord({"apply", "hello/", "-y"}).exit == 9);
  auto brought = demo.ripcord({"reconcile", "-m", "restored from last night"});
  INFO(brought.output);
  CHECK(brought.exit == 0);
  CHECK(brought.output.find("5 operations that the ledger did not know") != std::string::npos);
  CHECK(brought.output.find(", whose beginning the ledger had lost: ") != std::string::npos);
  auto again = demo.ripcord({"reconcile"});
  CHECK(again.exit == 0);
  CHECK(again.output.find("0 records brought in, 0 operations") != std::string::npos);
  check_imported_once(ledger);

  // The advice, as printed: nobody has decided on what came of it until then.
  CHECK(brought.output.find("`ripcord apply hello@1.1` goes on to it and writes down who runs it, `ripcord rollback hello` takes them back") != std::string::npos);
  auto told = demo.ripcord({"status"});
  INFO(told.output);
  CHECK(told.exit == 4);
  CHECK(told.output.find("lost     web-[01:03] did operations of r-") != std::string::npos);
  auto written = demo.ripcord({"apply", "hello@1.1", "-y", "-m", "as printed"});
  INFO(written.output);
  CHECK(written.exit == 0);
  CHECK(written.output.find("3 hosts run hello@1.1 already, and the ledger does not know: it is written down") != std::string::npos);
  for (const char* host : {"web-01", "web-02", "web-03"}) CHECK(version_of(demo, host) == "1.1");
  auto known = demo.ripcord({"status"});
  CHECK(known.exit == 0);
  CHECK(known.output.find("hello 1.1: completed at ") != std::string::npos);
  CHECK(demo.ripcord({"drift", "-q"}).exit == 0);
  auto nothing = demo.ripcord({"apply", "hello@1.1", "-y"});
  CHECK(nothing.exit == 0);
  CHECK(nothing.output.find("nothing to do: 3 hosts run hello@1.1") != std::string::npos);

  auto next = demo.ripcord({"apply", "hello/", "-y"});
  INFO(next.output);
  CHECK(next.exit == 0);
  for (const char* host : {"web-01", "web-02", "web-03"}) CHECK(activated(demo, host) >= 3);
}

TEST_CASE("the ledger of another fleet is refused by name, and the cord does not care") {
  Demo demo, shop;
  hurry(demo, "0s");
  hurry(shop, "0s");
  shop.replace("fleet.yaml", "fleet: demo", "fleet: shop");
  REQUIRE(demo.ripcord({"apply", "hello/", "-y"}).exit == 0);
  REQUIRE(shop.ripcord({"apply", "hello/", "-y"}).exit == 0);
  auto ledger = demo.folder + "/.ripcord/ledger.db";
  write_file_durable(ledger, read_file(shop.folder + "/.ripcord/ledger.db"), 0600);
  demo.replace("hello/unit.yaml", "\"1.0\"", "\"1.1\"");
  for (const auto& words : std::vector<std::vector<std::string>>{{"plan", "hello/"}, {"apply", "hello/", "-y"}, {"adopt", "hello", "-y", "-m", "mine"}}) {
    auto refused = demo.ripcord(words);
    INFO(refused.output);
    CHECK(refused.exit == 9);
    CHECK(refused.output.find("ledger '" + ledger + "' is that of fleet 'shop', and this is fleet 'demo'") != std::string::npos);
  }
  for (const char* host : {"web-01", "web-02", "web-03"}) CHECK(version_of(demo, host) == "1.0");
  CHECK(demo.ripcord({"rollback", "hello", "-y"}).exit == 0);
}

TEST_CASE("a standby that lacked entries was promoted in the middle of a rollout: refused, reconciled, resumed, nothing done twice") {
  if (skipped()) return;
  auto& primary = server_of_the_team();
  primary.sql("CREATE SCHEMA other");
  PgServer standby(primary, PgServer::Standby{});
  Demo demo;
  auto address = fmt::format("postgresql://postgres@{},{}/postgres?options=-csearch_path%3Dother", primary.place(), standby.place());
  use_ledger(demo, address);
  hurry(demo, "10m");
  auto canary = demo.ripcord({"apply", "hello/", "-y", "--no-wait"});
  INFO(canary.output);
  REQUIRE(canary.exit == 6);
  auto planned = demo.ripcord({"plan", "hello"});  // as apply would be
  CHECK(planned.exit == 7);
  CHECK(planned.output.find("unit 'hello' has an open rollout: ") != std::string::npos);
  standby.wait_caught_up_with(primary);
  standby.stop();
  REQUIRE(demo.ripcord({"promote", "hello"}).exit == 0);
  REQUIRE(demo.ripcord({"resume", "hello"}).exit == 0);
  primary.kill();
  standby.start();
  standby.promote();

  auto refused = demo.ripcord({"resume", "hello", "--no-wait"});
  INFO(refused.output);
  CHECK(refused.exit == 9);
  CHECK(refused.output.find("the ledger has lost entries") != std::string::npos);
  auto brought = demo.ripcord({"reconcile", "hello"});
  INFO(brought.output);
  CHECK(brought.exit == 0);
  CHECK(brought.output.find("2 operations that the ledger did not know") != std::string::npos);
  CHECK(demo.ripcord({"promote", "hello"}).exit == 0);
  auto resumed = demo.ripcord({"resume", "hello", "--no-wait"});
  INFO(resumed.output);
  CHECK(resumed.exit == 0);
  for (const char* host : {"web-01", "web-02", "web-03"}) {
    CHECK(version_of(demo, host) == "1.0");
    CHECK(activated(demo, host) == 1);
  }
  check_imported_once(address);
}
