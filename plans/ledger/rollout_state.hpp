// Where a rollout stands: a fold over its ledger entries (docs/ledger.md lists the kinds). Nothing else is remembered, but for
// what is in flight in this process (`busy`), which a crash forgets and resume finds out again by asking the hosts.
//
// Hosts are kept in one set for each stage and phase, so that decide's cost grows with what there is to do, not with the fleet.
#pragma once
#include <array>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/net/ledger.hpp"
#include "plans/ledger/rollout_spec.hpp"

namespace ripcord {

enum class HostPhase {
  waiting,      // nothing done yet
  staged,       // the release lies beside the running one
  activating,   // intent written; the outcome is not known yet
  confirmed,    // runs the new release: host journal says CONFIRMED
  failed,       // did not become healthy, or refused; see `switched`
  unreachable,  // could not be asked; nothing was activated: owed
  unknown,      // activation sent, and the host could not be asked what came of it by its deadline
  returning,    // intent to go back written
  returned,     // observed on its old release
  stuck,        // needs a person
};
inline constexpr int kHostPhases = 10;
std::string_view to_text(HostPhase phase);

struct HostState {
  HostPhase phase = HostPhase::waiting;
  std::string op;             // newest operation
  bool switched = false;      // may run, or have run, the new release
  bool failed_once = false;
  bool busy = false;          // a coroutine of this process is at it
  std::string drained;        // it is where it was to be, and could not be undrained: why
  std::string reason;         // of failed, unreachable, unknown, stuck
  std::int64_t since_ms = 0;  // wall time of the last entry
  int attempts = 0;           // times an intent to go forward was written
  int back_attempts = 0;      // times an intent to go back was written
  int health_misses = 0;      // in a row, during a bake; this process's
  // The walk of a rehearsal: forward, back, forward again.
  bool going_back = false;    // the newest operation goes back
  bool rehearsing = false;    // and is part of a walk
  bool walked = false;        // was observed well on its old release; what is left is to go forward again
  Millis forward_took{0}, back_took{0};
  std::string walk_failed;    // of a drill: how the way back did not work, though the host is there
  bool lapsing = false;       // of a drill: the newest operation is not to be confirmed
  bool lapsed = false;        // went back by itself
  bool drilled = false;       // nothing more to do
};

// A release that this rollout replaces. Its way back is the one from the rollout's release to this one.
struct PairState {
  ReleaseId from;
  std::vector<int> first_stage;  // hosts that make it there
  int later = 0;                 // hosts that make it in later stages
  std::optional<WallTime> proven_at;
};

struct StageState {
  bool started = false, approved = false, promoted = false, passed = false;
  bool baking = false;
  WallTime started_at, bake_from;
  WallTime last_progress;
  std::array<std::set<int>, kHostPhases> idle;   // hosts that nobody is at, by phase
  std::array<int, kHostPhases> count{};          // all hosts, by phase
  std::map<std::string, int> unavailable;        // by domain: activating, failed, unknown, returning, stuck, or about to be
  std::map<std::string, int> leaving;            // by domain: on its way back, or about to be
  int total = 0;
  int in(HostPhase p) const { return count[static_cast<std::size_t>(p)]; }
};

enum class Ending { open, completed, rolled_back, failed, needs_person };
std::string_view to_text(Ending ending);

class RolloutState {
 public:
  explicit RolloutState(RolloutSpec spec);

  const RolloutSpec& spec() const { return spec_; }
  const std::vector<HostState>& hosts() const { return hosts_; }
  const std::vector<StageState>& stages() const { return stages_; }
  const std::vector<int>& away() const { return away_; }  // hosts that did not answer when it was planned
  int current_stage() const;                 // first that has not passed; stages().size() when all have
  int index(const std::string& host) const;  // -1: not of this rollout
  // By the manifest that is replaced; without those that need no proof.
  const std::map<Digest, PairState>& pairs() const { return pairs_; }
  const PairState* pair_of(int host) const;  // null: no proof is needed
  bool proven(const PairState& pair, WallTime now) const { return pair.proven_at && now < *pair.proven_at + spec_.proof_valid; }
  int count(HostPhase p) const;

  bool paused = false, aborted = false, rolling_back = false, halted = false;
  std::string pause_why, pause_by;           // by: "person" | "policy" | "signal"
  std::string rollback_why;
  std::vector<OnceState> once;               // as spec().once
  std::string disproof;                      // a way back was walked and does not work: where, and why
  std::string halt_why;                      // "halted by ana on ops-1 since …"; only `resume` goes on
  std::set<int> drained;                     // hosts with HostState::drained, confirmed or returned
  int failures = 0;                          // hosts that failed, counted once each; never goes down
  std::set<int> distrusted;                  // hosts that last did not trust the seal, or were not trusted: the exit code is 9
  int unreachable = 0;
  std::map<std::string, std::int64_t> quarantined;  // hosts that need not take part, until then (ms of wall time); by name
  std::vector<std::string> owed;             // of a rollout that has ended: hosts that it did not bring where they were to be
  Ending ending = Ending::open;
  int exit_code = 0;
  std::int64_t last_seq = 0;
  WallTime began, ended;

  void apply(const LedgerEntry& entry);      // entries that do not concern this rollout are ignored
  void set_busy(int host, bool busy);
  void set_once_busy(int index, bool busy) { once[static_cast<std::size_t>(index)].busy = busy; }
  void note_health(int host, bool healthy);  // during a bake
  bool is_quarantined(const std::string& host, WallTime now) const;

 private:
  void move(int host, HostPhase to);
  void find_pairs();
  // rollout_fold.cpp
  void apply_host(std::string_view kind, const json::object& body, WallTime time);
  void apply_once(std::string_view kind, const json::object& body);
  void apply_quarantine(const json::object& body, bool lifted);
  RolloutSpec spec_;
  std::vector<HostState> hosts_;
  std::vector<StageState> stages_;
  std::vector<int> away_;
  std::unordered_map<std::string, int> by_name_;
  std::map<Digest, PairState> pairs_;
};

// Entries of the fleet that are every open rollout's business: it was halted, a host was quarantined.
bool concerns_rollout(const json::object& body, const RolloutSpec& spec);

// The exit code for how a rollout stands (DESIGN section 10).
Exit exit_for(const RolloutState& state);

// The state of one rollout out of a run of entries; nullopt when its start is not among them.
std::optional<RolloutState> fold_rollout(const std::vector<LedgerEntry>& entries, const std::string& rollout);

// Hosts of a rollout, those that are sure to hold its release first.
std::vector<std::string> holders_of(const RolloutState& state);

}  // namespace ripcord
