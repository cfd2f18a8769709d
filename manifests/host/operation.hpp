// The parts of an operation that activate(), finish() and recover() share. All are called under the unit's lock.
#pragma once
#include "manifests/host/activation.hpp"
#include "manifests/host/lock.hpp"
#include "manifests/host/placed.hpp"
#include "manifests/host/release_folder.hpp"

namespace ripcord {

// Compare: what `current` is against what the operation starts from. HostFailure conflict, folder_at_current.
void require_from(const UnitLayout& unit, const ActivateRequest& r, const CurrentLink& current);
// `current` names a folder of ours, and neither metadata nor journal know of it: the state folder was emptied, and with it every note of the
// processes that were started from there. HostFailure state_lost.
void require_recorded(const UnitLayout& unit, const CurrentLink& current, const UnitHistory& history);
// The members of its INTENT. `current`: the link's path.
json::object intent_of(const ActivateRequest& r, const std::string& current, const std::vector<Placement>& placed);

// a4 from where it stands, and a5: links and placed files are prepared. Idempotent.
void complete_switch(HostContext& host, const UnitLayout& unit, const UnitLock& lock, const Operation& op);

// Going back (forward=false). `onward`: forward past a point of no return, which is done the same way: nothing armed, nothing to go back
// to. It is forward all the same, so a halt and another ledger refuse it; a halt that comes meanwhile waits until it is done.
ActivateReply go_back(HostContext& host, const ActivateRequest& request, bool onward);
// The same, from wherever it stands, to its terminal record. `op` is journalled with its INTENT.
ActivateReply go_on_back(HostContext& host, const UnitLayout& unit, const UnitLock& lock, const std::string& op);

// Ends an open operation in favour of `by`.
void end_open(HostContext& host, const UnitLayout& unit, const UnitLock& lock, const Operation& open, const std::string& by);

// r1 for one unit, whoever asks. busy: somebody else holds the lock.
enum class Overdue { no, acted, busy };
Overdue revert_overdue(HostContext& host, const UnitLayout& unit, Millis lock_wait);
// Why an armed operation is to be taken back now; empty: it is not.
std::string why_overdue(const HostContext& host, const UnitLayout& unit, const Operation& op);

// The whole release, at least by its stat cache; damage is put right from other releases or is HostFailure damaged.
void require_intact(HostContext& host, const UnitLayout& unit, const UnitLock& lock, const StoredRelease& release);

}  // namespace ripcord
