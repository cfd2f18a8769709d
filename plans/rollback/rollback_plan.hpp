// Who goes where when the cord is pulled: pure, from what was observed on the hosts.
//
// Without a target it undoes the newest forward rollout found in any journal: hosts at its release return to the one recorded as
// their `from`, all others are only fenced. It never goes further back by itself and is never itself undone, so a second call
// changes nothing. A host that an earlier way back left unwell is brought up again where it is.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plans/hosts/host_look.hpp"

namespace ripcord {

struct RollbackLine {                   // one host, for the table at the end
  std::string host;
  std::optional<ReleaseId> before, target, after;
  enum class Result { unchanged, returned, unreachable, conflict, failed, missing } result = Result::unchanged;
  std::string detail;
  std::string lacks;                    // "missing" | "damaged": the target must be brought or mended first
  bool selected = true;                 // false: outside --limit or --stage, only fenced
  bool trust = false;                   // its host key or seal was not believed
  std::string drained;                  // it is there, and could not be put back in service: why
};

std::string_view to_text(RollbackLine::Result result);

struct RollbackPlan {
  std::string undoes;                   // rollout id, empty with --to
  std::vector<RollbackLine> lines;      // result: unchanged | unreachable | missing | returned (to be done)
};
RollbackPlan plan_rollback(const std::vector<HostLook>& looks, const std::optional<std::string>& to_version);

// Newest forward rollout in any journal that was read: by epoch, which only grows, then by time. "": there is none.
std::string newest_forward_rollout(const std::vector<HostLook>& looks);
RollbackLine plan_line(const HostLook& look, const std::string& undoes, const std::optional<std::string>& to_version);

// The manifest that a version means, by the hosts that hold it. Error(Exit::integrity) when they disagree: one version is one
// release for ever, so one of them is not to be believed. nullopt: nobody holds it.
std::optional<Digest> manifest_of_version(const std::vector<HostLook>& looks, const std::string& version);

Exit rollback_exit(const std::vector<RollbackLine>& lines);

// Epochs beyond this are no epochs but an attempt to end them: whoever claims one is not listened to.
inline constexpr std::int64_t kMaxEpoch = 1'000'000'000'000;

}  // namespace ripcord
