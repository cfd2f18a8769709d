// Arguments, help, suggestions, and the exit codes that need no fleet.
#include <set>

#include "cli/args.hpp"
#include "core/base/files.hpp"
#include "tests/cli/run.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"

using namespace ripcord;
using namespace ripcord::test;

TEST_CASE("ripcord alone lists every command, grouped") {
  auto r = run({});
  CHECK(r.exit == 0);
  for (const auto& c : cli::commands()) CHECK(r.out.find("\n   " + c.name + " ") != std::string::npos);
  for (const char* title : {"\nEveryday\n", "\nSteering a rollout\n", "\nLooking closer\n", "\nSetting up\n"}) CHECK(r.out.find(title) != std::string::npos);
  CHECK(run({"help"}).out == r.out);
  CHECK(run({"--help"}).out == r.out);
}

TEST_CASE("every command has help that names its options, also without required arguments") {
  std::set<std::string> names;
  for (const auto& c : cli::commands()) {
    CHECK(names.insert(c.name).second);
    auto help = run({"help", c.name});
    CHECK(help.exit == 0);
    CHECK(help.out.starts_with(c.name + " - " + c.summary + "\n\nusage: ripcord " + c.name));
    auto flag = run({c.name, "--help"});
    CHECK(flag.exit == 0);
    CHECK(flag.out.starts_with(help.out.substr(0, help.out.size() - 1)));
    CHECK(flag.out.find("-f, --fleet FILE") != std::string::npos);
  }
  CHECK(run({"help", "apply"}).out.find("\n   --outside-window ") != std::string::npos);
}

TEST_CASE("mistyped words are exit 64 with what was meant") {
  auto r = run({"aply", "storefront"});
  CHECK(r.exit == 64);
  CHECK(r.out.empty());
  CHECK(r.err == "ripcord: error: unknown command 'aply', did you mean 'apply'?\n  hint: `ripcord help` lists the commands\n");
  CHECK(run({"xyzzy\x1b"}).err.starts_with("ripcord: error: unknown command 'xyzzy\\x1b'\n"));
  CHECK(run({"apply", "storefront", "--hotfx"}).err ==
        "ripcord: error: unknown option '--hotfx', did you mean '--hotfix'?\n  hint: `ripcord help apply` lists its options\n");
  CHECK(run({"apply", "--hotfx=1", "storefront"}).exit == 64);
  CHECK(run({"--colr", "status"}).err.starts_with("ripcord: error: unknown option '--colr', did you mean '--color'?"));
  CHECK(run({"help", "statu"}).err.starts_with("ripcord: error: unknown command 'statu', did you mean 'status'?"));
  CHECK(run({"pause", "a", "b"}).err.starts_with("ripcord: error: unexpected argument 'b'\n"));
  CHECK(run({"pause"}).err.starts_with("ripcord: error: UNIT is missing\n"));
  CHECK(run({"pause"}).exit == 64);
  CHECK(run({"resume", "a", "-m"}).exit == 64);
  CHECK(run({"status", "-o", "jsn"}).err ==
        "ripcord: error: unknown output format 'jsn', did you mean 'json'?\n  hint: formats are text, json and jsonl\n");
  CHECK(run({"drift", "-o", "nagio"}).err.find("formats are text, json, jsonl and nagios") != std::string::npos);
  CHECK(run({"plan", "x", "-o", "jsn"}).err.find("a file's name needs a '.' or a '/', as in './jsn'") != std::string::npos);
  CHECK(run({"status", "--color", "blue"}).exit == 64);
  CHECK(run({"-o", "json", "aply"}).out ==
        "{\"error\":{\"what\":\"unknown command 'aply', did you mean 'apply'?\",\"hint\":\"`ripcord help` lists the commands\",\"exit\":64}}\n");
}

TEST_CASE("options may stand before and after the command, and the last one counts") {
  cli::Arguments globals, own;
  std::optional<std::string> file;
  std::string format = "text", unit;
  std::vector<std::string> hosts;
  bool yes = false;
  globals.value("-f,--fleet", file, "FILE", "");
  globals.value("-o,--output", format, "FORMAT", "");
  own.flag("-y,--yes", yes, "");
  own.positional("UNIT", unit, "");
  own.positionals("HOST", hosts, "");
  std::vector<std::string> words{"-f", "retry", "retry", "-y", "status", "web-01", "-f", "b", "web-02", "--output=json", "-y"};
  CHECK(cli::take_command(words, globals) == "retry");
  cli::parse_arguments(words, globals, own, "retry");
  CHECK(file == "b");
  CHECK(format == "json");
  CHECK(unit == "status");
  CHECK(hosts == std::vector<std::string>{"web-01", "web-02"});
  CHECK(yes);
  std::vector<std::string> none{"-f", "x"};
  CHECK(cli::take_command(none, globals) == "");
}

TEST_CASE("reasons are demanded where the design asks for them") {
  CHECK(run({"apply", "x", "--hotfix"}).err == "ripcord: error: --hotfix needs a reason\n  hint: add -m 'why'; it goes into the ledger\n");
  CHECK(run({"apply", "x", "--hotfix"}).exit == 64);
  CHECK(run({"plan", "x", "--outside-window", "-m", " "}).exit == 64);
}

TEST_CASE("without a fleet file it says where it looked") {
  TempDir dir;
  auto missing = dir.path() + "/nowhere.yaml";
  auto r = run({"-f", missing, "hosts"});
  CHECK(r.exit == 65);
  CHECK(r.err == "ripcord: error: there is no fleet file '" + missing + "'\n  hint: name it with -f FILE or RIPCORD_FLEET, or make an example with `ripcord init`\n");
  CHECK(run({"-f", missing, "apply", "x", "-y"}).exit != 0);
  CHECK(run({"-f", missing, "rollback", "x", "-y"}).exit == 65);
}

TEST_CASE("version names both programs") {
  auto text = run({"version"});
  CHECK(text.exit == 0);
  CHECK(text.out.starts_with("ripcord " RIPCORD_VERSION "\n"));
  CHECK(run({"--version"}).out == text.out);
  auto o = parse_json_object(run({"version", "-o", "json"}).out, "version");
  CHECK(o.at("ripcord") == RIPCORD_VERSION);
  CHECK(o.at("protocol") == 1);
}

TEST_CASE("init makes an example that validates, and never overwrites") {
  TempDir dir;
  auto demo = dir.path() + "/demo";
  auto made = run({"init", demo});
  CHECK(made.exit == 0);
  CHECK(made.out.starts_with("created  " + demo + "/fleet.yaml\n"));
  auto checked = run({"-f", demo + "/fleet.yaml", "validate"});
  CHECK(checked.err == "");
  CHECK(checked.out == "ok    " + demo + "/fleet.yaml  fleet demo: 3 hosts in 2 datacenters\n" +
                           "ok    " + demo + "/hello/unit.yaml  unit hello@1.0 on 3 hosts\n" +
                           "ok    " + demo + "/plans/hello.yaml  plan: 2 stages for unit hello\n");
  CHECK(checked.exit == 0);

  auto before = read_file(demo + "/fleet.yaml");
  auto again = run({"init", demo});
  CHECK(again.exit == 8);
  CHECK(again.err.starts_with("ripcord: error: nothing is overwritten, and these are there already: " + demo + "/fleet.yaml, "));
  CHECK(read_file(demo + "/fleet.yaml") == before);
}

TEST_CASE("validate prints every mistake of every file, and exits 65") {
  TempDir dir;
  auto demo = dir.path() + "/demo";
  REQUIRE(run({"init", demo}).exit == 0);
  auto fleet = demo + "/fleet.yaml", plan = demo + "/plans/hello.yaml";
  write_file_durable(plan, "unit: hello\nstages:\n  - name: canary\n    hosts: 1\n    bkae: 3s\n  - nam: rest\n    hosts: rest\n", 0644);
  auto r = run({"-f", fleet, "validate"});
  CHECK(r.exit == 65);
  CHECK(r.out.find(plan + ":5:5: unknown key 'bkae', did you mean 'bake'?\n") != std::string::npos);
  CHECK(r.out.find("unknown key 'nam', did you mean 'name'?") != std::string::npos);
  CHECK(r.out.find("ok    " + fleet) != std::string::npos);
  auto o = parse_json_object(run({"-f", fleet, "validate", "-o", "json"}).out, "validate");
  CHECK(o.at("files").as_array().at(2).as_object().at("ok") == false);
  CHECK(run({"-f", fleet, "validate", dir.path() + "/none"}).exit == 65);
}

TEST_CASE("a name that nobody knows is refused with exit 8, not done to nobody with exit 0") {
  TempDir dir;
  auto demo = dir.path() + "/demo", fleet = demo + "/fleet.yaml";
  REQUIRE(run({"init", demo}).exit == 0);
  REQUIRE(run({"-f", fleet, "seal", demo + "/hello"}).exit == 0);
  std::vector<std::vector<std::string>> commands{{"prune", "helo", "-y"}, {"rollback", "hello", "--limit", "web-9", "-y"}};
  for (auto words : commands) {
    words.insert(words.begin(), {"-f", fleet});
    auto r = run(words);
    INFO(words[2] << ": " << r.out << r.err);
    CHECK(r.exit == 8);
    CHECK(r.err.find(words[2] == "rollback" ? "--limit 'web-9' matches no host of unit 'hello'" : "nobody knows a unit 'helo'") != std::string::npos);
  }
  auto sealed = run({"-f", fleet, "seal", demo + "/helo"});
  CHECK(sealed.exit == 65);
  CHECK(sealed.err.starts_with("ripcord: error: there is no folder '"));
}

TEST_CASE("seal prints what it made, carries it in a file, and show tells what is in it") {
  TempDir dir;
  auto demo = dir.path() + "/demo", fleet = demo + "/fleet.yaml", file = dir.path() + "/hello.release";
  REQUIRE(run({"init", demo}).exit == 0);
  auto r = run({"-f", fleet, "seal", demo + "/hello", "-o", file});
  CHECK(r.err == "");
  CHECK(r.exit == 0);
  CHECK(r.out.starts_with("hello@1.0  sealed\ndigest   "));
  CHECK(exists(file));
  auto o = parse_json_object(run({"-f", fleet, "seal", demo + "/hello", "-o", "json"}).out, "seal");
  CHECK(o.at("already") == true);
  CHECK(o.at("unit") == "hello");
  CHECK(o.at("signed_by") == "");
  auto shown = run({"-f", fleet, "show", "hello"});
  CHECK(shown.out.starts_with("hello@1.0\n"));
  CHECK(shown.out.find("code/bin/hello\n") != std::string::npos);
  CHECK(run({"-f", fleet, "show", "hello@2.0"}).exit == 8);
  CHECK(run({"-f", fleet, "show", "helo"}).err.starts_with("ripcord: error: no release of unit 'helo' is sealed here, did you mean 'hello'?\n"));
  CHECK(run({"-f", fleet, "show", "web-01"}).out.starts_with("web-01  " + fleet));
  auto history = run({"-f", fleet, "history"});
  CHECK(history.out.find("sealed hello@1.0, unsigned") != std::string::npos);
}
