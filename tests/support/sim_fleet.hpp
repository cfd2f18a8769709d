// Simulated hosts behind the engine's own interface, in virtual time. A host keeps what a real one keeps on disk (journal, epoch,
// running release, dead-man deadline) whatever becomes of the controller that talks to it, and counts what the invariants are about.
#pragma once
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "plans/files/fleet.hpp"
#include "plans/hosts/host_port.hpp"

namespace ripcord::test {

// What goes wrong on a host; all off: a healthy host with a few milliseconds of latency.
struct SimFaults {
  bool unreachable = false;
  bool unhealthy = false;           // the release in `bad` does not become healthy here
  bool stage_refuses = false;       // no space
  bool untrusting = false;          // takes no release of ours: the signature is not what it should be
  bool lose_activate_reply = false; // the switch happens, the answer never comes (once)
  bool lose_confirm_reply = false;  // CONFIRMED is journalled, the answer never comes (once)
  bool dies_before_switch = false;  // the helper dies between its intent and the switch (once)
  bool dies_after_switch = false;   // the controller can never reach it again after `current` moved
  bool way_back_broken = false;     // the old release does not start again after the new one ran
  bool deadman_dead = false;        // nobody goes back by himself; only a controller that asks makes an overdue way back happen
  bool unhealthy_later = false;     // healthy until confirmed, not during the bake
  bool drain_fails = false;         // before anything is begun
  bool cord_in_step = false;        // somebody's rip cord begins to take it back right behind the switch, and has done so 3 s later (once)
  bool lapses_at_confirm = false;   // its dead-man switch fires as the confirm arrives: it is going back for 3 s more (once)
  int undrain_fails = 0;            // so many times, behind the confirmation
  int undrain_back_fails = 0;       // so many times, on its old release again
  int latency_ms = 3;
  int dies_at_request = -1;         // from this request on (0: the first) nobody reaches it any more; it may be between the change and the answer
  int refuses_logins_at = -1;       // from this request on
  int key_changes_at = -1;          // from this request on it shows another host key than the known one
  bool loses_power = false;         // with dies_at_request: its dead-man dies too, until it boots again after boot_ms
  int boot_ms = -1;                 // after dies_at_request: reachable again, booted, this much later; -1: never
  enum class Lie { none, confirms_nothing, other_tree, impossible_phase, forgets } lie = Lie::none;
};

struct SimHost;
// What the invariants are about, told at the moment it happens.
class SimWitness {
 public:
  virtual ~SimWitness() = default;
  virtual void on_switched(const SimHost& /*host*/, const OpState& /*op*/, const std::string& /*holder*/) {}  // `current` was moved by a command
  virtual void on_state(const SimHost& /*host*/, const OpState& /*op*/) {}                                 // an operation reached another phase
  virtual void on_accepted(const SimHost& /*host*/, std::int64_t /*epoch*/, const std::string& /*holder*/) {}
};

struct SimHost {
  std::string name;
  SimFaults faults;
  std::optional<ReleaseId> running;
  std::set<std::string> staged;       // folders
  std::int64_t epoch = 0;
  std::string holder;
  std::map<std::string, OpState> ops;
  std::map<std::string, std::int64_t> deadline_us;  // armed operations
  std::string last_op, last_forward;
  std::map<std::string, int> switches;  // times `current` moved, by operation
  int journal = 0;
  std::optional<Halt> halted;
  bool cut = false;                     // dies_after_switch or dies_at_request came true
  bool dark = false;                    // without power
  bool lied = false;                    // a lie was told
  bool drained = false;                 // and not put back in service
  int requests = 0, key_asks = 0, logins = 0, refused = 0, boots = 0;
  std::int64_t boots_at_us = 0;
  int open = 0;                         // operations that are neither confirmed nor ended
  SimWitness* witness = nullptr;
  std::set<SimHost*>* timed = nullptr;  // hosts with something that comes with time

  void pass_time(Elapsed now, WallTime wall, bool asked = false);  // fires dead-man switches that fell due, boots
  void set(OpState& op, OpPhase phase, std::string detail = {});
  void arm(const std::string& op, std::int64_t until_us);
  void disarm(const std::string& op);
  const OpState* open_op() const;
};

class SimFleet : public HostPorts {
 public:
  SimFleet(Clock& clock, const std::vector<std::string>& names);
  HostPort& port(const std::string& host) override;
  SimHost& host(const std::string& name) { return *hosts_.at(name); }
  const std::map<std::string, std::unique_ptr<SimHost>>& hosts() const { return hosts_; }
  void pass_time();
  int activated_unconfirmed();          // right now, in the whole fleet
  void watch(SimWitness& witness);

 private:
  Clock& clock_;
  std::map<std::string, std::unique_ptr<SimHost>> hosts_;
  std::map<std::string, std::unique_ptr<HostPort>> ports_;
  std::set<SimHost*> timed_;
};

}  // namespace ripcord::test
