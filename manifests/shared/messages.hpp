// What controller and host program say to each other (docs/protocol.md). Every request is one control frame
// {"id": n, "do": "<name>", ...}; the reply is {"id": n, "ok": true, ...} or {"id": n, "ok": false, "error": {...}}; some are
// followed or preceded by data frames, as said here. Requests may be sent without waiting; they are done in order.
// Progress of a long request comes as {"id": n, "event": "<step>"} before its reply, and {"event": "alive"} every 5 s meanwhile; a hello with
// "alive_ms" has it come at that interval until the session ends, between requests too.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/base/digest.hpp"
#include "core/base/json.hpp"
#include "manifests/shared/halt.hpp"
#include "manifests/shared/unit_spec.hpp"

namespace ripcord {

inline constexpr int kProtocol = 1;

// --- hello: who are you -------------------------------------------------------------------------------------------------
struct HelloReply {
  int protocol = kProtocol;
  std::vector<std::string> features;
  std::string host_id;       // made at first contact, kept in the state folder
  std::string boot_id, arch, user, program;  // program: digest of the running helper
  std::int64_t wall_ms = 0;
  std::string deadman;       // "strong" (systemd) | "weak" (detached process)
  std::string trust;         // "none" | "required" (an allowed_signers file is there)
  std::optional<Halt> halted;  // no forward activation begins here
};

// --- observe: what is there, read only ------------------------------------------------------------------------------------
// Also executes an overdue dead-man revert first, and reports it (INVARIANTS, "Activation on a host").
struct UnitRef {
  std::string unit;
  std::string root = "/srv";
};

enum class Verify { none, quick, full };  // quick trusts size, mtime, ctime, inode recorded at the last full hash

struct ReleaseId {
  std::string version;
  Digest manifest, tree;
  std::string folder() const;
  bool operator==(const ReleaseId&) const = default;
};

struct Finding {  // one way in which a tree differs from what it should be
  std::string kind;    // changed, mode, owner, missing, extra, link, type, xattr, unreadable
  std::string path;
  std::string detail;  // expected and found
};

// Where an operation stands, by the host's journal. `intent`, `activated`, `reverting` are not terminal.
enum class OpPhase { none, intent, activated, confirmed, reverting, reverted, failed_unchanged, needs_operator };

struct OpState {
  std::string op, rollout;
  OpPhase phase = OpPhase::none;
  bool forward = true;
  std::optional<ReleaseId> from, to;   // from: none at a first deployment
  std::optional<ReleaseId> undo_to;    // where the rip cord goes from it, when that is not `from` (ActivateRequest)
  std::int64_t deadline_left_ms = -1;  // armed and not confirmed: time until the host goes back by itself
  std::string detail;                  // why, for reverted, failed_unchanged, needs_operator
  std::string who, why;
  std::int64_t at_ms = 0;              // wall time of the last record
  std::int64_t epoch = 0;              // under which it was intended
};

struct Observation {
  enum class Current { none, release, foreign_link, folder, broken };
  Current current = Current::none;
  std::optional<ReleaseId> running;     // what `current` names, when it is a release of ours
  std::string link_target;              // raw, when there is a link
  std::string tree_state;               // "verified" | "damaged" | "unverified"
  std::vector<Finding> findings;        // at most 50
  std::optional<ReleaseId> way_back;    // the release `rollback` would return to, by the journal
  std::vector<ReleaseId> releases;      // complete ones on disk
  std::optional<OpState> last_op;       // newest operation in the journal
  std::optional<OpState> last_forward;  // newest forward operation: what a rollback without a target undoes
  std::int64_t epoch = 0;
  std::string holder, ledger_id;
  std::int64_t journal_seq = 0;
  std::string journal_hash;             // of the last record
  bool process_ok = false;              // the running check and one round of health, when asked for
  std::string process_detail;
  bool drained = false;                 // nothing is under way, and it was not put back in service since it was drained
  std::uint64_t free_bytes = 0, free_inodes = 0;
  std::uint64_t release_bytes = 0;      // what the releases on this host take, by the journal
  // Only when asked with "back": where a rollback would go from what runs now ("back_to" absent), or which release of the version
  // "back_to" this host holds or knows, and whether it could go there at once.
  std::string back_state;               // "verified" | "damaged" | "missing" | "none" (nowhere to go); "" not asked
  std::optional<ReleaseId> back;        // absent with "verified": back to nothing deployed
  std::vector<Finding> back_findings;   // at most 50
  std::int64_t back_ms = 0;             // about how long: as long as bringing that release up took last; 0: not known
};

// --- stage: bring a release beside the running one -------------------------------------------------------------------------
// stage_offer: request carries manifest bytes and signature as strings, then the reply says which objects are lacking.
// Nothing is written but the offer itself. stage_pack: request, then data frames (a pack), ended by an empty data frame.
struct StageOffer {
  UnitRef unit;
  std::string manifest, signature;
  Labels labels;                     // journalled; the host adds arch
};
struct StageReply {
  ReleaseId release;                 // as the host computes it; to an offer, tree is all zeros while templates are lacking
  bool complete = false;             // already there and verified
  std::vector<Digest> lacking;       // objects not found in any release on the host
  std::uint64_t tree_bytes = 0, files = 0;
};
// The reply to stage_pack is a StageReply with complete = true.

// --- activate, state, confirm ----------------------------------------------------------------------------------------------
struct ActivateRequest {
  UnitRef unit;
  std::string op, rollout;
  bool forward = true;               // false: going back: never armed, never itself undone, compare-and-swap
  std::optional<ReleaseId> from;     // none: nothing deployed
  std::optional<ReleaseId> to;       // none only when going back to nothing (stop the service, remove the link)
  // Forward, of a host that is brought to where the others are: a rip cord takes it where it takes them, though it never ran that.
  // `to`: it stays. Failing and the dead-man switch go to `from` all the same.
  std::optional<ReleaseId> undo_to;
  std::int64_t epoch = 0;
  std::string holder, ledger_id, who, why;
  std::int64_t confirm_within_ms = 0;  // T; forward only
  std::int64_t spread_ms = 0;          // wait this long (after drain, before arming) so that clients do not stampede
  bool demand_strong = false;          // refuse when the dead-man switch would be weak
};

struct ActivateReply {
  OpState state;
  bool switched = false;             // `current` was moved by this request
  bool healthy = false;              // restart, health and the running check all passed
  std::string failed_step;           // drain, arm, switch, stop, start, restart, health, running; empty when healthy
  std::string output;                // of the failed step: last 8 KiB, secrets masked
  std::string log_tail;              // of the service: last 50 lines, secrets masked
  std::map<std::string, std::int64_t> step_ms;
  std::vector<std::string> kept;     // placed files that somebody had edited, and where they are kept as evidence
};

// state: {"do":"state","unit":..,"op":..} -> OpState.   confirm: {.., "op", "epoch", "holder"} -> OpState (phase tells).
// finish: {"do":"finish", "op"} re-runs a6 (restart, health, running) of an activated, unconfirmed op -> ActivateReply.
// fence: FenceRequest -> {"epoch","holder"}: the host refuses anything lower from now on; with "observe": true also an Observation.
// health: {"unit"} -> {"healthy":bool,"detail":str,"failed_step","output","log_tail"}: one round of checks + running check.
// journal: {"unit","after":seq} -> {"records":[line...]} (raw JSON lines, at most 1,000).
// fetch: {"unit","objects":[hex...]} -> reply {"have":[hex...]}, then a pack in data frames, ended by an empty data frame.
// have: {"unit","objects":[hex...]} -> {"have":[hex...]}: as fetch, without the data.
// mend: {"unit","release":{...}} -> StageReply: a release that this host knows is made whole; what is lacking comes by stage_pack.
// fetch_manifest: {"unit","manifest":hex} -> {"manifest":str,"signature":str} of a release on this host.
// logs: {"unit","lines":n} -> {"services":[{"name","log"}]}.
// halt: {"halt":Halt} -> {"halted":Halt}: durable, and no forward activation is between its gate and its switch any more.
// unhalt: {} -> {"was":Halt or null}.
// bye: the host program replies and exits.

// fence with a reason: journals who fenced why, also when nothing is switched, and tells what is there afterwards.
struct FenceRequest {
  UnitRef unit;
  std::int64_t epoch = 0;
  std::string holder, ledger_id;
  std::string op, who, why;            // op empty: a bare fence
};

// Why a host refused. `code` is stable; the controller acts on it, never on the text.
struct HostError {
  std::string code;    // see kHostErrors in docs/protocol.md: fenced, conflict, no_space, read_only, untrusted, damaged,
                       // missing_objects, missing_release, bad_request, folder_at_current, running_without_release, cannot_arm,
                       // weak_deadman, no_user, bad_path, overdue, journal_damaged, never_confirmed, internal
  std::string message, hint;
};

json::object to_json(const HelloReply&);
HelloReply hello_from_json(const json::object&);
json::object to_json(const UnitRef&);
UnitRef unit_ref_from_json(const json::object&);
json::object to_json(const ReleaseId&);
ReleaseId release_id_from_json(const json::object&);
json::object to_json(const OpState&);
OpState op_state_from_json(const json::object&);
json::object to_json(const Observation&);
Observation observation_from_json(const json::object&);
json::object to_json(const StageOffer&);
StageOffer stage_offer_from_json(const json::object&);
json::object to_json(const StageReply&);
StageReply stage_reply_from_json(const json::object&);
json::object to_json(const ActivateRequest&);
ActivateRequest activate_request_from_json(const json::object&);
json::object to_json(const ActivateReply&);
ActivateReply activate_reply_from_json(const json::object&);
json::object to_json(const FenceRequest&);
FenceRequest fence_request_from_json(const json::object&);
json::object to_json(const HostError&);
HostError host_error_from_json(const json::object&);

std::string_view to_text(OpPhase);
OpPhase op_phase_from_text(std::string_view);
std::string_view to_text(Observation::Current);
std::string_view to_text(Verify);
Verify verify_from_text(std::string_view);

}  // namespace ripcord
