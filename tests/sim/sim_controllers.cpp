// The processes of a world: who runs the rollout, who pulls the cord or halts the fleet beside it, and what becomes of them.
#include <fmt/format.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "plans/ledger/halt.hpp"
#include "plans/ledger/history.hpp"
#include "plans/ledger/ledger_nearby.hpp"
#include "tests/sim/sim_world.hpp"

namespace ripcord::test {
namespace {

constexpr int kSteps = 60000;               // of a life: more is a livelock
constexpr Millis kLongest{12 * 3600 * 1000};  // of a world, in its own time

struct NoPacks : PackSource {
  Task<Pack> pack(std::vector<Digest>) override { co_return Pack{}; }
};
struct Nobody : RolloutObserver {
  void on_entry(const LedgerEntry&, const RolloutState&) override {}
};

std::string temp_folder() {
  std::string path = ::access("/dev/shm", W_OK) == 0 ? "/dev/shm/ripcord-sim-XXXXXX" : "/tmp/ripcord-sim-XXXXXX";
  return ::mkdtemp(path.data()) ? path : std::string();
}

}  // namespace

// A process that runs the rollout.
struct SimWorld::Controller {
  Controller(SimWorld& w, std::string holder, bool take_over)
      : world(w), ledger(std::make_unique<Ledger>(loop, w.clock_, w.memory_.open(), "alice", "laptop", Ledger::Writing::inline_)) {
    EngineOptions options;
    options.holder = std::move(holder);
    options.take_over = take_over;
    options.steering_poll = Millis(1000);
    engine = std::make_unique<Engine>(loop, w.clock_, *ledger, *w.hosts_, packs, w.fleet_, w.release_, observer, options);
  }
  static Task<> go(Controller& c, bool resume) {
    if (resume) {
      auto state = fold_rollout(c.world.memory_.entries, c.world.spec_.id);
      c.exit = static_cast<int>(co_await c.engine->resume(std::move(*state), "again"));
    } else {
      RolloutSpec spec = c.world.spec_;
      c.exit = static_cast<int>(co_await c.engine->start(std::move(spec), 0));
    }
  }
  void start(bool resume) {
    spawn(loop, go(*this, resume), [this](std::exception_ptr e) { ended(e); });
  }
  void ended(std::exception_ptr e) {
    over = true;
    try {
      if (e) std::rethrow_exception(e);
    } catch (const Error& error) {
      exit = static_cast<int>(error.exit());
      why = error.what();
    } catch (const std::exception& error) {
      world.broken(fmt::format("a controller died of {}", error.what()));
    }
  }
  bool poll() {
    if (over || frozen) return false;
    if (loop.stopped()) loop.restart();
    return loop.poll_one() > 0;
  }

  SimWorld& world;
  Loop loop;
  NoPacks packs;
  Nobody observer;
  std::unique_ptr<Ledger> ledger;
  std::unique_ptr<Engine> engine;
  bool over = false, frozen = false;
  int exit = -1;
  std::string why;
  // Of a controller that pulls the cord instead.
  std::string spool;
  ReleaseStore store{"/nonexistent/ripcord-sim"};
  std::unique_ptr<LedgerNearby> nearby;
  RollbackResult result;
};

void SimWorld::pull_cord(Controller& beside) {
  hit(SimTotals::cord_pulled);
  RollbackOptions options;
  options.who = "bob";
  options.why = "INC-1";
  options.within = Millis(60000);
  bool no_ledger = chance(15);
  if (no_ledger) beside.spool = temp_folder(), hit(SimTotals::cord_without_ledger);
  std::vector<const Host*> all;
  for (const auto& h : fleet_.hosts) all.push_back(&h);
  if (no_ledger) beside.nearby = std::make_unique<LedgerNearby>(beside.loop, clock_, LedgerNearby::Opener(), spec_.unit, "bob", "desk");
  else beside.nearby = std::make_unique<LedgerNearby>(*beside.ledger, spec_.unit);
  auto go = [](Controller& c, RollbackOptions o, std::vector<const Host*> targets) -> Task<> {
    std::function<void(const RollbackLine&)> nobody;
    RollbackPlace place{c.loop, c.world.clock_, *c.world.hosts_, *c.world.hosts_, c.world.fleet_, *c.nearby, c.store, c.spool};
    c.result = co_await run_rollback(std::move(place), std::move(targets), c.world.spec_.unit_ref(), std::move(o), std::move(nobody));
  };
  spawn(beside.loop, go(beside, options, std::move(all)), [&beside](std::exception_ptr e) { beside.ended(e); });
}

void SimWorld::tell(json::object entry) {
  auto append = [](Ledger& ledger, json::object what) -> Task<> {
    std::vector<json::object> bodies;
    bodies.push_back(std::move(what));
    co_await ledger.append(std::move(bodies));
  };
  Loop loop;
  Ledger ledger(loop, clock_, memory_.open(), "bob", "desk", Ledger::Writing::inline_);
  run_to_end(loop, append(ledger, std::move(entry)));
}

void SimWorld::pull_switch(Controller& beside) {
  hit(SimTotals::halted);
  Halt halt{fmt::format("halt-{}", memory_.entries.size()), "bob", "desk", "smoke", clock_.wall().ms};
  tell(halted_entry(halt, fleet_.name));
  halted_at_ = clock_.elapsed();
  std::vector<const Host*> all;
  for (const auto& h : fleet_.hosts) all.push_back(&h);
  auto go = [](Controller& c, Halt what, std::vector<const Host*> hosts) -> Task<> {
    std::function<void(const HaltLine&)> nobody;
    co_await halt_hosts(c.loop, c.world.clock_, *c.world.hosts_, std::move(hosts), std::move(what), 64, Millis(2000), std::move(nobody));
  };
  spawn(beside.loop, go(beside, halt, std::move(all)), [&beside](std::exception_ptr e) { beside.ended(e); });
}

void SimWorld::lift_halt() {
  if (!halted_at_) return;
  halted_at_.reset();
  for (const auto& [name, h] : hosts_->hosts()) h->halted.reset();
  if (auto halt = standing_halt(memory_.entries, fleet_.name)) tell(unhalted_entry(*halt, fleet_.name, "it was nothing"));
}

int SimWorld::live(bool resume) {
  appends_ = 0;
  dead_ = false;
  auto reset = [](int& moment, int value) { moment = value; };
  reset(kill_after_, chance(35) ? between(0, 40) : -1);
  reset(kill_at_step_, kill_after_ < 0 && chance(25) ? between(1, 400) : -1);
  bool calm = kill_after_ < 0 && kill_at_step_ < 0;
  reset(freeze_after_, calm && chance(12) ? between(1, 30) : -1);
  reset(cord_after_, calm && freeze_after_ < 0 && chance(20) ? between(1, 35) : -1);
  reset(fail_after_, chance(5) ? between(1, 25) : -1);
  reset(stop_after_, chance(6) ? between(1, 25) : -1);
  reset(abort_after_, chance(5) ? between(1, 25) : -1);
  reset(halt_after_, calm && freeze_after_ < 0 && cord_after_ < 0 && chance(12) ? between(1, 25) : -1);

  std::vector<std::unique_ptr<Controller>> all;
  auto holder = [&] { return fmt::format("holder-{}-{}", memory_.entries.size(), all.size()); };
  all.push_back(std::make_unique<Controller>(*this, holder(), resume));
  Controller& first = *all[0];
  Controller* cord = nullptr;
  Elapsed thaw{0};
  if (resume) {
    auto now = fold_rollout(memory_.entries, spec_.id)->failures;
    if (now < failures_) broken("failures that were counted are forgotten");
    failures_ = now;
  }
  first.start(resume);
  for (int step = 0;; ++step) {
    if (step == kSteps) broken("it does not come to an end");
    if (!broken_.empty()) break;
    ++totals_.events;
    if (step == kill_at_step_ && !first.over) dead_ = true, hit(SimTotals::killed_between);
    else if (dead_ && kill_after_ >= 0 && !first.over) hit(SimTotals::killed_at_append);
    if (dead_) break;
    if (stop_after_ >= 0 && appends_ > stop_after_) {
      stop_after_ = -1;
      hit(SimTotals::stopped);
      first.engine->stop("SIGINT");
    }
    if (abort_after_ >= 0 && appends_ > abort_after_) {
      abort_after_ = -1;
      hit(SimTotals::aborted);
      tell({{"kind", "rollout.aborted"}, {"rollout", spec_.id}, {"unit", "storefront"}, {"by", "person"}, {"why", "no"}});
    }
    if (freeze_after_ >= 0 && appends_ > freeze_after_ && !first.over) {
      freeze_after_ = -1;
      first.frozen = true;
      thaw = clock_.elapsed() + Millis(between(26000, 120000));
      hit(SimTotals::frozen_past_lease);
      // The second operator waits until the lease has run out.
      auto after = clock_.elapsed() + Millis(31000);
      clock_.at(after, [] {});
      clock_.at(thaw, [] {});
    }
    if (first.frozen && all.size() == 1 && memory_.leases.contains(spec_.unit) && memory_.leases[spec_.unit].expires_ms <= clock_.wall().ms && open_rollout(memory_.entries, spec_.unit)) {
      all.push_back(std::make_unique<Controller>(*this, holder(), false));
      all.back()->start(true);
    }
    if (first.frozen && clock_.elapsed() >= thaw) first.frozen = false;
    if (cord_after_ >= 0 && appends_ > cord_after_ && !first.over) {
      cord_after_ = -1;
      all.push_back(std::make_unique<Controller>(*this, holder(), false));
      cord = all.back().get();
      pull_cord(*cord);
    }
    if (halt_after_ >= 0 && appends_ > halt_after_ && !first.over) {
      halt_after_ = -1;
      all.push_back(std::make_unique<Controller>(*this, holder(), false));
      cord = all.back().get();
      pull_switch(*cord);
    }
    bool any = false, over = true;
    for (auto& c : all) {
      any = c->poll() || any;
      over = over && c->over;
    }
    if (over) break;
    if (any) continue;
    if (!clock_.advance_to_next()) {
      broken("nothing is left that could wake it, and it has not ended");
      break;
    }
    hosts_->pass_time();
    if (clock_.wall() - began_ > kLongest) broken(fmt::format("it still runs after {}", format_duration(kLongest)));
  }
  // Whoever is left is killed here, between two instructions.
  if (cord && cord->over) {
    for (const auto& line : cord->result.lines) {
      const auto& host = hosts_->host(line.host);
      bool settled = line.result == RollbackLine::Result::returned && honest(host) && cord_epoch_.contains(line.host) && host.epoch == cord_epoch_[line.host];
      if (settled && host.running != line.target) broken(fmt::format("the rip cord says that {} has returned, and it has not", line.host));
    }
  }
  int exit = -1;
  for (auto& c : all)
    if (c.get() != cord && c->over && c->exit >= 0) exit = std::max(exit, c->exit == static_cast<int>(Exit::held) && all.size() > 1 ? -1 : c->exit);
  bool held = std::any_of(all.begin(), all.end(), [&](const auto& c) { return c.get() != cord && c->exit == static_cast<int>(Exit::held); });
  if (held) hit(SimTotals::held);
  if (exit < 0 && held && !dead_) exit = static_cast<int>(Exit::held);
  std::vector<std::string> spools;
  for (auto& c : all)
    if (!c->spool.empty()) spools.push_back(c->spool);
  clock_.drop_timers();
  abandon_waiters();
  all.clear();
  std::error_code ignored;
  for (const auto& spool : spools) std::filesystem::remove_all(spool, ignored);
  return dead_ ? -1 : exit;
}

}  // namespace ripcord::test
