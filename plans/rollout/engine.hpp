// Performs what decide says, over real or simulated hosts, and appends what came of it. One straight-line coroutine a host action;
// the loop is: fold, decide, act, wait. Everything an observer hears is durable already.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/net/ledger.hpp"
#include "plans/files/fleet.hpp"
#include "plans/hosts/host_port.hpp"
#include "plans/hosts/pack_source.hpp"
#include "plans/hosts/release_on_hand.hpp"
#include "plans/rollout/decide.hpp"
#include "plans/rollout/once_runner.hpp"

namespace ripcord {

class RolloutObserver {
 public:
  virtual ~RolloutObserver() = default;
  virtual void on_entry(const LedgerEntry& entry, const RolloutState& state) = 0;  // durable, folded in
  virtual void on_step(const std::string& /*host*/, const std::string& /*step*/) {}  // "staging", "armed", "restarted" …
  virtual void on_waiting(const Decision& /*decision*/) {}                          // what it waits for changed
};

struct EngineOptions {
  bool no_wait = false;                       // return (Exit::waiting) instead of waiting for a bake, approval or window
  Millis steering_poll{200};                  // how often other processes' entries are looked for
  Millis lease_ttl{30000}, lease_renew{10000};
  std::string holder;                         // random id of this process; made when empty
  std::string who, machine;                   // for the lease: a person, and where
  bool take_over = false;
  std::string take_over_how = "--take-over";  // for the ledger, when the lease had not run out
  bool only_begin = false;                    // start() returns when the rollout is in the ledger: another process goes on
  std::int64_t seen = -1;                     // the ledger's size when hosts were looked at; -1: not known
  std::string halt_file;                      // plans/ledger/halt.hpp; "": none
  OnceRunner* once = nullptr;                 // null: what is to run once cannot be run here
  // Makes a release on a host whole before it is gone back to (plans/hosts/supply.hpp). "": it is; else why it is not.
  std::function<Task<std::string>(std::string host, ReleaseId release)> mend;
};

class Engine {
 public:
  Engine(Loop& loop, Clock& clock, Ledger& ledger, HostPorts& ports, PackSource& packs, const Fleet& fleet, ReleaseOnHand release,
         RolloutObserver& observer, EngineOptions options);
  ~Engine();

  // Starts a new rollout: takes the unit's lease, appends rollout.started, runs it to its end or until it has to wait.
  Task<Exit> start(RolloutSpec spec, std::int64_t epoch_at_least);
  // Goes on with an open rollout. `from_entries`: the ledger as read.
  Task<Exit> resume(RolloutState state, std::string why);
  // From a signal handler's loop callback: start nothing more, let steps in flight end, append rollout.paused, return.
  void stop(std::string why);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ripcord
