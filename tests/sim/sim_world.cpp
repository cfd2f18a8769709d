#include "tests/sim/sim_world.hpp"

#include <fmt/format.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "core/base/error.hpp"
#include "plans/halt.hpp"
#include "plans/history.hpp"
#include "plans/ledger_nearby.hpp"

namespace ripcord::test {
namespace {

const WallTime kNoon = parse_utc("2026-11-20T12:00:00.000Z");
const ReleaseId kOld{"1.0", sha256("old"), sha256("old tree")};
constexpr int kSteps = 60000;               // of a life: more is a livelock
constexpr Millis kHaltHeard{2000};
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

const char* SimTotals::name(int c) {
  static constexpr std::array<const char*, kClasses> names{
      "completed", "went back", "owed", "paused", "held", "needs a person", "distrusted", "killed at an append", "killed between two events", "frozen past its lease",
      "ledger failed", "aborted", "stopped by a signal", "halted", "cord pulled beside it", "cord without the ledger", "host unreachable", "host unhealthy", "host slow", "host lied", "host died",
      "host booted", "host full", "answer lost", "dead-man fired"};
  return names[static_cast<std::size_t>(c)];
}

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

SimWorld::SimWorld(unsigned seed, SimTotals& totals) : seed_(seed), random_(seed), totals_(totals), clock_(kNoon), memory_(clock_) {
  make_fleet();
  make_faults();
  memory_.on_append = [this](const LedgerEntry& e) { on_append(e); };
  hosts_->watch(*this);
}

SimWorld::~SimWorld() {
  clock_.drop_timers();
  abandon_waiters();
}

void SimWorld::make_fleet() {
  const int n = between(2, 9), stages = between(1, std::min(3, n));
  for (int i = 1; i <= n; ++i) names_.push_back(fmt::format("h{}", i));
  hosts_ = std::make_unique<SimFleet>(clock_, names_);
  release_.sealed.bytes = "manifest of 2.0";
  release_.digest = sha256(release_.sealed.bytes);
  ReleaseId next{"2.0", release_.digest, sha256("tree of " + release_.digest.hex())};
  spec_.id = "r-sim";
  spec_.fleet = fleet_.name = "sim";
  spec_.unit = "storefront";
  spec_.version = "2.0";
  spec_.root = "/srv";
  spec_.manifest = release_.digest;
  spec_.confirm_within = Millis(60000);
  spec_.max_failures = between(1, 3);
  spec_.max_unreachable = between(0, 3);
  spec_.rollback_on_failure = !chance(15);
  for (int s = 0; s < stages; ++s) {
    StageSpec stage;
    stage.name = fmt::format("s{}", s);
    stage.max_parallel = between(1, 4);
    stage.slow_start = chance(50);
    stage.bake = Millis(chance(60) ? 0 : 2000);
    spec_.stages.push_back(stage);
  }
  open_.resize(spec_.stages.size());
  const bool first_deployment = chance(10);
  for (int i = 0; i < n; ++i) {
    HostPlan h;
    h.name = names_[static_cast<std::size_t>(i)];
    h.stage = i < stages - 1 ? i : stages - 1;
    if (!first_deployment) h.from = kOld;
    h.to = next;
    spec_.hosts.push_back(h);
    stage_of_[h.name] = h.stage;
    Host known;
    known.name = h.name;
    fleet_.hosts.push_back(known);
    auto& host = hosts_->host(h.name);
    if (!first_deployment) {
      host.running = kOld;
      host.staged.insert(kOld.folder());
    }
  }
  if (chance(70)) spec_.unproven = {"1.0"};  // rehearsals make worlds long; some walk them
}

void SimWorld::make_faults() {
  for (const auto& name : names_) {
    auto& f = hosts_->host(name).faults;
    f.latency_ms = between(1, 300);
    if (chance(6)) f.latency_ms = between(2000, 9000), hit(SimTotals::host_slow);  // settle_deadline leaves room for 10 s
    if ((f.unreachable = chance(4))) hit(SimTotals::host_unreachable);
    if ((f.unhealthy = chance(4))) hit(SimTotals::host_unhealthy);
    f.unhealthy_later = chance(2);
    f.way_back_broken = chance(2);
    if ((f.stage_refuses = chance(2))) hit(SimTotals::host_full);
    f.untrusting = chance(1);
    f.lose_activate_reply = chance(6);
    f.lose_confirm_reply = chance(6);
    if (f.lose_activate_reply || f.lose_confirm_reply) hit(SimTotals::answer_lost);
    if (chance(7)) {  // dead at any step
      f.dies_at_request = between(0, 8);
      f.loses_power = chance(50);
      f.boot_ms = chance(60) ? between(500, 90000) : -1;
    }
    if (chance(2)) f.lie = static_cast<SimFaults::Lie>(between(1, 4));
  }
}

void SimWorld::broken(std::string what) {
  if (broken_.empty()) broken_ = std::move(what);
}

// --- what is checked where it happens ------------------------------------------------------------------------------------------------

void SimWorld::on_switched(const SimHost& host, const OpState& op, const std::string&) {
  if (host.switches.at(op.op) > 1) broken(fmt::format("{} was switched twice by operation {}", host.name, op.op));
  bool cord = op.rollout.starts_with("rb-");
  if (!cord && !intents_.contains(op.op)) broken(fmt::format("{} was switched by {}, which no entry intends", host.name, op.op));
  if (cord) cord_epoch_[host.name] = op.epoch;
  auto pulled = cord_epoch_.find(host.name);
  if (op.forward && pulled != cord_epoch_.end() && op.epoch <= pulled->second)
    broken(fmt::format("{} went forward with epoch {} after a rip cord of epoch {}", host.name, op.epoch, pulled->second));
}

void SimWorld::on_state(const SimHost& host, const OpState& op) {
  if (op.phase == OpPhase::reverted) hit(SimTotals::dead_man_fired);
  auto& open = open_[static_cast<std::size_t>(stage_of_.at(host.name))];
  if (host.open == 0 || !honest(host)) {
    open.erase(&host);
    return;
  }
  open.insert(&host);
  auto width = spec_.stages[static_cast<std::size_t>(stage_of_.at(host.name))].max_parallel;
  // One without power serves nobody, and goes back when it boots; nobody waits for that.
  auto lit = std::count_if(open.begin(), open.end(), [](const SimHost* h) { return !h->dark; });
  if (lit > width)
    broken(fmt::format("{} hosts of stage {} are activated and not confirmed, and max_parallel is {}", lit, stage_of_.at(host.name), width));
}

void SimWorld::on_append(const LedgerEntry& e) {
  ++totals_.entries;
  const auto kind = get_string(e.body, "kind");
  if (kind == "host.intent") {
    intents_.insert(get_string(e.body, "op"));
    if (halted_at_ && get_bool(e.body, "forward") && clock_.elapsed() > *halted_at_ + kHaltHeard) broken(fmt::format("entry {} goes forward in a fleet that was halted", e.seq));
  }
  const auto epoch = get_int_or(e.body, "epoch", -1);
  const bool cords = e.body.contains("rollback");  // needs no lease
  if (!cords && epoch >= 0 && epoch < memory_.epochs[spec_.unit]) broken(fmt::format("entry {} ({}) was written with epoch {}, and the lease has {}", e.seq, kind, epoch, memory_.epochs[spec_.unit]));
  auto about = hosts_->hosts().find(get_string_or(e.body, "host", ""));
  if (about != hosts_->hosts().end() && honest(*about->second) && about->second->epoch <= epoch) {
    const auto& host = *about->second;
    if (kind == "host.confirmed") {
      auto op = host.ops.find(get_string(e.body, "op"));
      if (op == host.ops.end() || op->second.phase != OpPhase::confirmed || host.running != op->second.to)
        broken(fmt::format("entry {} says that {} is confirmed, and it is {} and runs {}", e.seq, host.name, op == host.ops.end() ? "nowhere" : to_text(op->second.phase),
                           host.running ? host.running->version : "nothing"));
    }
    if (kind == "host.returned" && host.running != spec_.hosts[static_cast<std::size_t>(std::find(names_.begin(), names_.end(), host.name) - names_.begin())].from)
      broken(fmt::format("entry {} says that {} has returned, and it has not", e.seq, host.name));
  }
  ++appends_;
  if (kill_after_ >= 0 && appends_ > kill_after_) dead_ = true;
  // The entry is there, and the answer is not: what a database does when it fails over in the middle of a COMMIT.
  if (fail_after_ >= 0 && appends_ > fail_after_ && appends_ <= fail_after_ + 2 && epoch >= 0) {
    hit(SimTotals::ledger_failed);
    throw Error("the connection to the ledger was lost");
  }
}

// --- controllers -----------------------------------------------------------------------------------------------------------------------

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
    if (clock_.wall() - kNoon > kLongest) broken(fmt::format("it still runs after {}", format_duration(kLongest)));
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

std::string SimWorld::run() {
  ++totals_.worlds;
  int exit = live(false);
  for (int again = 0; again < 6 && broken_.empty(); ++again) {
    lift_halt();
    auto state = fold_rollout(memory_.entries, spec_.id);
    if (!state) {
      exit = again < 3 ? live(false) : exit;  // killed before it was written down
      continue;
    }
    if (state->ending != Ending::open) break;
    if (state->paused && state->pause_by == "policy" && exit == static_cast<int>(Exit::waiting)) break;  // a person's turn
    exit = live(true);
  }
  if (broken_.empty()) check_end(exit);
  return broken_;
}

void SimWorld::check_end(int) {
  // Whatever happened to controllers: hosts that nobody confirmed have gone back by themselves, hosts without power once they booted.
  clock_.advance(spec_.confirm_within + Millis(180000));
  hosts_->pass_time();
  for (const auto& [name, h] : hosts_->hosts()) {
    if (h->dark) continue;
    if (h->open > 0 && honest(*h)) broken(fmt::format("{} is still activated and not confirmed after its deadline", name));
    if (h->boots > 0) hit(SimTotals::host_booted);
    if (h->lied) hit(SimTotals::host_lied);
  }
  for (const auto& [name, h] : hosts_->hosts())
    if (h->cut || h->boots > 0) hit(SimTotals::host_died);
  auto state = fold_rollout(memory_.entries, spec_.id);
  if (!state) return;
  if (seed_ % 16 == 0 && find_broken_link(memory_.entries, Digest{})) broken("the ledger's chain is broken");
  std::set<std::string> owed;
  for (const auto& e : memory_.entries)
    if (get_string(e.body, "kind") == "rollout.ended")
      if (const auto* list = find_array(e.body, "owed"))
        for (const auto& name : *list) owed.insert(std::string(name.as_string()));
  const bool cord = !cord_epoch_.empty();
  auto runs = [&](const HostPlan& plan, const std::optional<ReleaseId>& what) { return hosts_->host(plan.name).running == what; };
  switch (state->ending) {
    case Ending::completed:
      hit(owed.empty() ? SimTotals::completed : SimTotals::owed);
      if ((state->exit_code == 0) != owed.empty()) broken(fmt::format("exit code {} with {} hosts owed", state->exit_code, owed.size()));
      for (const auto& plan : spec_.hosts)
        if (!cord && honest(hosts_->host(plan.name)) && !owed.contains(plan.name) && !runs(plan, plan.to))
          broken(fmt::format("completed, and {} neither runs it nor is owed", plan.name));
      break;
    case Ending::rolled_back:
      hit(SimTotals::went_back);
      for (const auto& plan : spec_.hosts) {
        const auto& h = hosts_->host(plan.name);
        if (honest(h) && !h.dark && !runs(plan, plan.from)) broken(fmt::format("rolled back, and {} does not run what it ran before", plan.name));
      }
      break;
    case Ending::open: hit(SimTotals::paused); break;
    default:
      hit(SimTotals::needs_person);
      if (state->exit_code == 0 || state->exit_code == 3) broken(fmt::format("needs a person, with exit code {}", state->exit_code));
  }
  if (state->distrust) hit(SimTotals::distrusted);
}

void SimWorld::print_ledger() const {
  for (const auto& e : memory_.entries) fmt::print(stderr, "{}\n", e.line.substr(0, 300));
}

}  // namespace ripcord::test
