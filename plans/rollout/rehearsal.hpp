// The rule that no way forward is widened before its way back was walked. Pure; decide asks.
//
// A pair is (the release a host runs, the release of the rollout), by manifest. Until a pair is proven, one host of the first stage
// alone makes it: forward, back, forward again. All others of that pair wait, in the first stage and in every later one. From
// nothing needs no proof, nor does a pair waived by name (--unproven), nor any past a point of no return: there is no way back.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "plans/files/fleet.hpp"
#include "plans/ledger/rollout_state.hpp"

namespace ripcord {

// Whether this host may be switched now: its pair is proven, or needs no proof, or it is the host that proves it.
bool may_switch(const RolloutState& state, int host, WallTime now);

// The host of the first stage that walks the way back of a pair; -1 when none is left that could.
int rehearser(const RolloutState& state, const PairState& pair);

struct Walks {
  std::vector<int> back;          // confirmed, and to go back now
  std::vector<int> proven;        // confirmed again after going back: the proof is to be recorded
  std::vector<std::string> lost;  // versions of pairs that later stages make, and that nobody is left to walk
  bool under_way = false;         // a host is between two steps of its walk
};
// `every`: all pairs of the rollout; else only those that hosts wait for in `stage`.
Walks walks_due(const RolloutState& state, WallTime now, bool every, int stage);

Proof proof_of(const RolloutState& state, int host, WallTime now);

// Moves hosts into the first stage that takes any, so that it holds one for every distinct release that is replaced.
// `runs`: the manifest each host runs; hosts without one, or with `wanted`, need no rehearsal.
void bring_rehearsers_forward(std::vector<std::vector<const Host*>>& stages, const std::map<std::string, Digest>& runs, const Digest& wanted);

}  // namespace ripcord
