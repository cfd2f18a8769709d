// How a rollout is put into words: the verdict in one sentence, one line an event, what to do next. Pure; the views print it.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "cli/view/style.hpp"
#include "core/net/ledger.hpp"
#include "plans/ledger/rollout_state.hpp"
#include "plans/rollout/decide.hpp"

namespace ripcord::cli {

std::string time_of_day(WallTime t);               // "12:30:01", local
std::string short_time(WallTime t, WallTime now);  // "12:30" today, else "2026-11-20 12:30"
std::string local_time(const std::string& utc);    // of an entry's time: "2026-11-20 12:30:01"; as it is when it is no time

// "web-[01:04], api-1": runs of names, each of which expand_range reads back.
std::string compress_hosts(const std::vector<std::string>& names);
std::string count_of(std::size_t n, const std::string& noun);  // "1 host", "12 hosts"

// Who runs a rollout, out of the lease row of its unit.
struct Runner {
  std::optional<Lease> lease;
  bool gone = false;  // it ran on this machine, and its process is no more: nobody needs to wait for the lease to run out
  bool alive(WallTime now) const { return lease && !gone && lease->expires_ms > now.ms; }
  std::string text() const;  // "ana on ops-1"
};

struct Verdict {
  std::string text;  // "storefront 1.1: baking in stage canary until 12:30 (1 of 12 hosts confirmed)"
  Tone tone = Tone::plain;
  Waiting waiting = Waiting::nothing;
};
Verdict verdict(const RolloutState& state, WallTime now);

// What a person may do about it, as commands without "ripcord" in front: {"approve storefront", "lets stage all start"}.
struct NextStep {
  std::string command, what;
};
std::vector<NextStep> next_steps(const RolloutState& state, const Runner& runner, WallTime now);

// One ledger entry of a rollout in one line: "web-01 confirmed 1.1 in 1.2s". nullopt: nothing to say.
struct Event {
  std::string text;
  Tone tone = Tone::plain;
};
std::optional<Event> describe(const LedgerEntry& entry, const RolloutState& state);

std::vector<std::string> owed_hosts(const RolloutState& state);
std::vector<std::string> hosts_in(const RolloutState& state, HostPhase phase, int stage = -1);
Tone tone_of(HostPhase phase);

}  // namespace ripcord::cli
