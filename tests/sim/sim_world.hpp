// One world made from a seed: a fleet of simulated hosts with faults, a ledger in memory, a clock that jumps, and controllers that are
// killed, frozen, cut off from the ledger, or meet a second one. The engine is the real one, unchanged. The invariants are checked at
// every event, where it happens: at each change of a host and at each entry. Everything follows from the seed.
#pragma once
#include <array>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "plans/rollback/rollback.hpp"
#include "plans/rollout/engine.hpp"
#include "tests/support/memory_ledger.hpp"
#include "tests/support/sim_fleet.hpp"

namespace ripcord::test {

// What happened in worlds, by class; one that was never hit proves nothing.
struct SimTotals {
  enum Class {
    completed, went_back, owed, paused, held, needs_person, distrusted,             // how worlds ended
    killed_at_append, killed_between, frozen_past_lease, ledger_failed, aborted, stopped, halted, cord_pulled, cord_without_ledger,  // what was done to controllers
    host_unreachable, host_unhealthy, host_slow, host_lied, host_died, host_booted, host_full, answer_lost, dead_man_fired, domain_full,  // and to hosts
    kClasses
  };
  std::array<long, kClasses> hits{};
  long worlds = 0, events = 0, entries = 0;
  static const char* name(int c);
};

class SimWorld : public SimWitness {
 public:
  explicit SimWorld(unsigned seed, SimTotals& totals);
  ~SimWorld() override;
  std::string run();              // "" or the first broken promise
  void print_ledger() const;

 private:
  struct Controller;
  // sim_world.cpp: what the seed makes.
  void make_fleet();
  void make_faults();
  // sim_controllers.cpp: who acts in it.
  int live(bool resume);          // one controller's life, and whoever disturbs it; its exit code, -1: killed
  void pull_cord(Controller& beside);
  void pull_switch(Controller& beside);   // halt
  void lift_halt();
  void tell(json::object entry);          // an entry of somebody else's
  // sim_promises.cpp: what holds in it.
  void check_end();
  void broken(std::string what);
  bool chance(int percent) { return static_cast<int>(random_() % 100) < percent; }
  int between(int low, int high) { return low + static_cast<int>(random_() % static_cast<unsigned>(high - low + 1)); }
  void hit(SimTotals::Class c) { ++totals_.hits[static_cast<std::size_t>(c)]; }
  bool honest(const SimHost& h) const { return h.faults.lie == SimFaults::Lie::none; }

  void on_switched(const SimHost& host, const OpState& op, const std::string& holder) override;
  void on_state(const SimHost& host, const OpState& op) override;
  void on_append(const LedgerEntry& entry);

  const unsigned seed_;
  const WallTime began_;
  std::mt19937 random_;
  SimTotals& totals_;
  ManualClock clock_;
  MemoryLedger memory_;
  std::vector<std::string> names_;
  std::unique_ptr<SimFleet> hosts_;
  Fleet fleet_;
  ReleaseOnHand release_;
  RolloutSpec spec_;
  std::string broken_;

  std::map<std::string, int> stage_of_;
  std::map<std::string, std::string> rack_of_;        // what max_unavailable counts by
  bool over_ = false;                                 // rollout.ended is in the ledger
  std::vector<std::set<const SimHost*>> open_;        // by stage: activated and not confirmed
  std::set<std::string> intents_;                     // operations that the ledger intends
  std::map<std::string, std::int64_t> cord_epoch_;    // hosts a rip cord has reached, with its epoch
  bool cord_spooled_ = false;
  int failures_ = 0;                                  // as folded at the start of the newest life

  int kill_after_ = -1, kill_at_step_ = -1, freeze_after_ = -1, fail_after_ = -1, cord_after_ = -1, stop_after_ = -1, abort_after_ = -1, halt_after_ = -1;
  std::optional<Elapsed> halted_at_;
  int appends_ = 0;
  bool dead_ = false;
};

}  // namespace ripcord::test
