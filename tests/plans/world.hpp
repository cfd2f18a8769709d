// A fleet of simulated hosts, a ledger in memory and a clock that jumps: one world, in which controllers come and go.
#pragma once
#include <fmt/format.h>

#include <algorithm>

#include "plans/ledger/history.hpp"
#include "plans/rollback/rollback.hpp"
#include "plans/rollout/engine.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/memory_ledger.hpp"
#include "tests/support/sim_fleet.hpp"

namespace ripcord::test {

inline const WallTime kNoon = parse_utc("2026-11-20T12:00:00.000Z");  // a Friday

struct NoPacks : PackSource {
  Task<Pack> pack(std::vector<Digest>) override { co_return Pack{}; }
};

struct Recorder : RolloutObserver {
  std::vector<std::string> kinds, waited;
  void on_waiting(const Decision& d) override {
    if (d.silence) waited.push_back(d.why);
  }
  void on_entry(const LedgerEntry& entry, const RolloutState&) override { kinds.push_back(std::string(entry.body.at("kind").as_string())); }
};

// One world: clock, hosts and ledger outlive the controllers that come and go.
struct World {
  ManualClock clock{kNoon};
  MemoryLedger memory{clock};
  std::vector<std::string> names;
  std::unique_ptr<SimFleet> hosts;
  Fleet fleet;
  ReleaseOnHand release;
  RolloutSpec spec;
  int most_unconfirmed = 0;
  std::string halt_file;
  OnceRunner* once = nullptr;

  explicit World(int n, int stages = 3) {
    for (int i = 1; i <= n; ++i) names.push_back(fmt::format("web-{:03}", i));
    hosts = std::make_unique<SimFleet>(clock, names);
    release.sealed.bytes = "manifest of 2.0";
    release.digest = sha256(release.sealed.bytes);
    ReleaseId old{"1.0", sha256("old"), sha256("old tree")}, next{"2.0", release.digest, sha256("tree of " + release.digest.hex())};
    for (const auto& name : names) {
      Host h;
      h.name = name;
      fleet.hosts.push_back(h);
      hosts->host(name).running = old;
      hosts->host(name).staged.insert(old.folder());
    }
    spec.id = "r-test";
    spec.unit = "storefront";
    spec.version = "2.0";
    spec.root = "/srv";
    spec.manifest = release.digest;
    spec.confirm_within = Millis(60000);
    spec.max_unreachable = std::max(1, n / 20);
    for (int s = 0; s < stages; ++s) {
      StageSpec stage;
      stage.name = fmt::format("stage-{}", s);
      stage.max_parallel = 4;
      stage.bake = Millis(2000);
      spec.stages.push_back(stage);
    }
    for (int i = 0; i < n; ++i) {
      HostPlan h;
      h.name = names[static_cast<std::size_t>(i)];
      h.stage = i == 0 ? 0 : i < 4 && stages > 2 ? 1 : stages - 1;
      h.from = old;
      h.to = next;
      spec.hosts.push_back(h);
    }
  }

  // One controller's life: runs until it ends or `appends` entries have been written, when it is killed between two instructions.
  struct Life {
    std::optional<Exit> exit;
    std::string error;
    bool killed = false;
    std::vector<std::string> kinds, waited;  // waited: for hosts that say nothing
  };
  Life run(bool resume, int kill_after_appends = -1, std::function<void(Engine&)> during = {}, bool no_wait = false) {
    Life life;
    int appends = 0;
    bool dead = false;
    memory.on_append = [&](const LedgerEntry&) { dead = dead || (kill_after_appends >= 0 && ++appends > kill_after_appends); };
    {
      Loop loop;
      NoPacks packs;
      Recorder recorder;
      Ledger ledger(loop, clock, memory.open(), "alice", "laptop", Ledger::Writing::inline_);
      EngineOptions options;
      options.holder = fmt::format("holder-{}", memory.entries.size());
      options.no_wait = no_wait;
      options.take_over = resume;
      options.halt_file = halt_file;
      options.once = once;
      Engine engine(loop, clock, ledger, *hosts, packs, fleet, release, recorder, options);
      bool over = false;
      auto done = [&](std::exception_ptr e) {
        over = true;
        try {
          if (e) std::rethrow_exception(e);
        } catch (const Error& error) {
          life.error = error.what();
          life.exit = error.exit();
        }
      };
      auto task = [](Engine& e, World& world, bool again, Life& mine) -> Task<> {
        if (again) {
          auto state = fold_rollout(world.memory.entries, world.spec.id);
          mine.exit = co_await e.resume(std::move(*state), "again");
        } else {
          RolloutSpec copy = world.spec;
          mine.exit = co_await e.start(std::move(copy), 0);
        }
      };
      spawn(loop, task(engine, *this, resume, life), done);
      for (int steps = 0; !over && !dead && steps < 200000; ++steps) {
        if (during) during(engine);
        if (loop.stopped()) loop.restart();
        if (loop.poll_one() > 0) {
          most_unconfirmed = std::max(most_unconfirmed, hosts->activated_unconfirmed());
          continue;
        }
        if (!clock.advance_to_next()) break;
        hosts->pass_time();
      }
      life.killed = dead && !over;
      clock.drop_timers();
      abandon_waiters();
      life.kinds = recorder.kinds;
      life.waited = recorder.waited;
      memory.on_append = {};
    }
    return life;
  }

  // Somebody at another desk steers this rollout.
  void say(json::object body) {
    body["rollout"] = spec.id;
    body["unit"] = spec.unit;
    Loop loop;
    Ledger ledger(loop, clock, memory.open(), "bob", "desk", Ledger::Writing::inline_);
    std::vector<json::object> bodies{std::move(body)};
    run_to_end(loop, append(ledger, std::move(bodies)));
  }
  static Task<> append(Ledger& ledger, std::vector<json::object> bodies) { co_await ledger.append(std::move(bodies)); }

  RolloutState state() { return *fold_rollout(memory.entries, spec.id); }
  int running(const std::string& version) {
    int n = 0;
    for (const auto& [name, h] : hosts->hosts()) n += h->running && h->running->version == version;
    return n;
  }
  // Another old release on a host, or nothing.
  void give(const std::string& name, std::optional<std::string> version) {
    std::optional<ReleaseId> old;
    if (version) old = ReleaseId{*version, sha256("old " + *version), sha256("old tree " + *version)};
    auto& host = hosts->host(name);
    host.running = old;
    if (old) host.staged.insert(old->folder());
    for (auto& plan : spec.hosts)
      if (plan.name == name) plan.from = old;
  }
  // From the ledger alone: no later stage makes a pair that is not proven, and before the proof one host of the first stage alone.
  void check_proofs() {
    std::map<std::string, WallTime> proven;
    for (const auto& p : spec.proofs) proven[p.from.hex()] = p.at;
    std::map<std::string, std::set<std::string>> out;  // by manifest: hosts that may run the new release, unproven
    for (const auto& e : memory.entries) {
      const auto kind = get_string(e.body, "kind"), name = get_string_or(e.body, "host", "");
      if (kind == "rollback.proof") proven[get_string(e.body, "from")] = parse_utc(get_string(e.body, "time"));
      auto plan = std::find_if(spec.hosts.begin(), spec.hosts.end(), [&](const HostPlan& h) { return h.name == name; });
      if (plan == spec.hosts.end() || !plan->from) continue;
      const auto& from = plan->from->version;
      if (std::find(spec.unproven.begin(), spec.unproven.end(), from) != spec.unproven.end()) continue;
      const auto pair = plan->from->manifest.hex();
      if (kind == "host.failed" || kind == "host.unreachable" || kind == "host.stuck" || kind == "host.unknown") out[pair].erase(name);
      if (kind != "host.intent" || !get_bool(e.body, "forward")) continue;
      auto now = parse_utc(get_string(e.body, "time"));
      INFO(name << " from " << from << " at entry " << e.seq);
      if (proven.contains(pair) && now < proven[pair] + spec.proof_valid) continue;
      out[pair].insert(name);
      CHECK(plan->stage == 0);
      CHECK(out[pair].size() == 1);
    }
  }
  void check_honest() {
    check_proofs();
    auto s = state();
    for (std::size_t i = 0; i < s.hosts().size(); ++i) {
      const auto& host = hosts->host(spec.hosts[i].name);
      INFO(host.name << " is " << to_text(s.hosts()[i].phase));
      if (s.hosts()[i].phase == HostPhase::confirmed) {
        CHECK(host.running->version == "2.0");
        CHECK(host.ops.at(s.hosts()[i].op).phase == OpPhase::confirmed);
      }
      if (s.hosts()[i].phase == HostPhase::returned) CHECK(host.running == spec.hosts[i].from);
      for (const auto& [op, times] : host.switches) CHECK(times <= 1);
    }
  }
};

}  // namespace ripcord::test
