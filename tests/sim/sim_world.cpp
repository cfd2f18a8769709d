#include "tests/sim/sim_world.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "plans/ledger/history.hpp"

namespace ripcord::test {
namespace {

const WallTime kNoon = parse_utc("2026-11-20T12:00:00.000Z");
const ReleaseId kOld{"1.0", sha256("old"), sha256("old tree")};

}  // namespace

const char* SimTotals::name(int c) {
  static constexpr std::array<const char*, kClasses> names{
      "completed", "went back", "owed", "paused", "held", "needs a person", "distrusted", "killed at an append", "killed between two events", "frozen past its lease",
      "ledger failed", "aborted", "stopped by a signal", "halted", "cord pulled beside it", "cord without the ledger", "host unreachable", "host unhealthy", "host slow", "host lied", "host died",
      "host booted", "host full", "answer lost", "dead-man fired", "max_unavailable used up"};
  return names[static_cast<std::size_t>(c)];
}

SimWorld::SimWorld(unsigned seed, SimTotals& totals) : seed_(seed), began_(kNoon), random_(seed), totals_(totals), clock_(kNoon), memory_(clock_) {
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
    if (chance(40)) stage.max_unavailable = between(1, 2);
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
    rack_of_[h.name] = h.domain = i % 2 == 0 ? "rack-a" : "rack-b";
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
    if (chance(2)) f.key_changes_at = between(0, 8);
    if (chance(2)) f.lie = static_cast<SimFaults::Lie>(between(1, 4));
  }
}

void SimWorld::broken(std::string what) {
  if (broken_.empty()) broken_ = std::move(what);
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
  if (broken_.empty()) check_end();
  return broken_;
}

void SimWorld::print_ledger() const {
  for (const auto& e : memory_.entries) fmt::print(stderr, "{}\n", e.line.substr(0, 300));
}

}  // namespace ripcord::test
