// What happens once a rollout: at most once, recorded, and a person decides what nobody saw.
#include "plans/rollout/once_runner.hpp"

#include "core/base/files.hpp"
#include "tests/plans/world.hpp"
#include "tests/support/temp_dir.hpp"

using namespace ripcord;
using namespace ripcord::test;

namespace {

using Kind = OnceOutcome::Kind;

// A schema that is changed by "migrate" and asked for by "migrated".
struct Schema : OnceRunner {
  Clock& clock;
  bool changed = false, fails = false;
  int runs = 0, most_at_once = 0, at_once = 0;
  std::vector<std::string> environment_unit;
  explicit Schema(Clock& c) : clock(c) {}
  Task<OnceOutcome> run(std::vector<std::string> argv, std::map<std::string, std::string> environment, Millis) override {
    OnceOutcome out;
    environment_unit.push_back(environment.at("RIPCORD_UNIT") + "@" + environment.at("RIPCORD_VERSION"));
    if (argv[0] == "migrated") {
      out.kind = changed ? Kind::done : Kind::failed;
      out.text = "exit status 1";
      co_return out;
    }
    ++runs;
    changed = !fails;
    co_await sleep_until(clock, clock.elapsed() + Millis(5000));
    out.kind = fails ? Kind::failed : Kind::done;
    out.text = "exit status 3";
    co_return out;
  }
};

struct Migrating : World {
  Schema schema{clock};
  explicit Migrating(int n, bool with_check = true) : World(n) {
    once = &schema;
    OnceSpec o;
    o.stage = 1;
    o.before = "stage-1";
    o.run = {"migrate", "--to", "7"};
    if (with_check) o.check = {"migrated"};
    spec.once.push_back(o);
  }
  int seq_of(const std::string& kind, int stage = -1) const {
    for (const auto& e : memory.entries)
      if (get_string(e.body, "kind") == kind && (stage < 0 || get_int_or(e.body, "stage", -1) == stage)) return static_cast<int>(e.seq);
    return -1;
  }
};

}  // namespace

TEST_CASE("once: after the stage before, and before the stage it names; intent first") {
  Migrating w(6);
  CHECK(w.run(false).exit == Exit::done);
  CHECK(w.schema.runs == 1);
  CHECK(w.schema.environment_unit[0] == "storefront@2.0");
  CHECK(w.seq_of("stage.passed", 0) < w.seq_of("once.intent"));
  CHECK(w.seq_of("once.intent") < w.seq_of("once.done"));
  CHECK(w.seq_of("once.done") < w.seq_of("stage.started", 1));
  auto lines = history(w.memory.entries, "", false);
  CHECK(std::any_of(lines.begin(), lines.end(), [](const HistoryLine& l) { return l.what == "done once: migrate --to 7"; }));
}

TEST_CASE("once: what its check calls done is not run") {
  Migrating w(6);
  w.schema.changed = true;
  CHECK(w.run(false).exit == Exit::done);
  CHECK(w.schema.runs == 0);
  CHECK(w.seq_of("once.intent") < 0);
}

TEST_CASE("once: a failure waits for a person; retry runs it again, approve says it was done, an abort never runs it") {
  auto failed = [] {
    auto w = std::make_unique<Migrating>(6);
    w->schema.fails = true;
    CHECK(w->run(false).exit == Exit::waiting);
    CHECK(w->schema.runs == 1);
    CHECK(w->state().pause_why ==
          "`migrate --to 7`, once before stage stage-1 failed: exit status 3; look whether it was done: `resume` asks its check again, `retry` runs it "
          "again, `approve` says that it was done");
    return w;
  };
  auto resumed = failed();
  CHECK(resumed->run(true).exit == Exit::waiting);
  CHECK(resumed->schema.runs == 1);
  resumed->schema.changed = true;  // by hand
  CHECK(resumed->run(true).exit == Exit::done);
  CHECK(resumed->schema.runs == 1);

  auto retried = failed();
  retried->schema.fails = false;
  retried->say({{"kind", "rollout.retried"}, {"hosts", json::array{}}});
  CHECK(retried->run(true).exit == Exit::done);
  CHECK(retried->schema.runs == 2);

  auto approved = failed();
  approved->say({{"kind", "rollout.approved"}, {"once", 0}});
  CHECK(approved->run(true).exit == Exit::done);
  CHECK(approved->schema.runs == 1);

  auto aborted = failed();
  aborted->say({{"kind", "rollout.aborted"}, {"why", "no"}});
  CHECK(aborted->run(true).exit == Exit::failed);
  CHECK(aborted->schema.runs == 1);
  CHECK(aborted->running("1.0") == 6);
}

TEST_CASE("once: killed at every append it runs at most once, and what nobody saw waits for a person") {
  int asked = 0;
  for (bool with_check : {true, false})
    for (int kill = 1; kill < 45; ++kill) {
      Migrating w(4, with_check);
      auto life = w.run(false, kill);
      for (int again = 0; again < 4 && life.killed; ++again) life = w.run(true);
      INFO("killed after append " << kill << (with_check ? "" : ", no check"));
      if (life.exit == Exit::waiting) {
        ++asked;
        auto why = w.state().pause_why;
        CHECK(why.find(with_check ? "may or may not have been done: its check says no: exit status 1" : "may or may not have been done: nobody saw how it "
                                    "ended, and it has no check") != std::string::npos);
        if (with_check) CHECK(w.schema.runs == 0);  // killed between the intent and the start
        w.say({{"kind", "rollout.approved"}, {"once", 0}});
        life = w.run(true);
      }
      CHECK(life.exit == Exit::done);
      CHECK(w.schema.runs <= 1);
    }
  CHECK(asked > 0);
}

TEST_CASE("once: real programs, without a shell, with a deadline") {
  TempDir dir;
  Loop loop;
  SystemClock clock(loop);
  auto runner = make_once_runner(clock, dir.path());
  OnceOutcome out;
  auto task = [](OnceRunner& r, std::vector<std::string> argv, Millis deadline, OnceOutcome& to) -> Task<> {
    std::map<std::string, std::string> environment{{"RIPCORD_UNIT", "shop"}};
    to = co_await r.run(std::move(argv), std::move(environment), deadline);
  };
  auto run = [&](std::vector<std::string> argv, Millis deadline = Millis(10000)) { run_to_end(loop, task(*runner, std::move(argv), deadline, out)); };
  run({"/bin/sh", "-c", "echo $RIPCORD_UNIT; pwd; exit 3"});
  CHECK(out.kind == Kind::failed);
  CHECK(out.text == "exit status 3");
  CHECK(out.output == "shop\n" + dir.path() + "\n");
  run({"touch", "a b; c"});
  CHECK(out.kind == Kind::done);
  CHECK(exists(dir.path() + "/a b; c"));
  run({"/no/such/program"});
  CHECK(out.kind == Kind::failed);
  run({"/bin/sh", "-c", "kill -9 $$"});
  CHECK(out.kind == Kind::unknown);
  run({"sleep", "60"}, Millis(300));
  CHECK(out.kind == Kind::unknown);
  CHECK(out.text == "it did not end within 300ms and was killed");
}
