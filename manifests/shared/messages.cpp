#include "manifests/shared/messages.hpp"

#include "manifests/shared/message_fields.hpp"

namespace ripcord {

std::string_view to_text(OpPhase phase) { return kPhases[static_cast<std::size_t>(phase)]; }
std::string_view to_text(Observation::Current current) { return kCurrents[static_cast<std::size_t>(current)]; }
std::string_view to_text(Verify verify) { return kVerifies[static_cast<std::size_t>(verify)]; }

OpPhase op_phase_from_text(std::string_view text) {
  OpPhase phase{};
  if (!find_word(kPhases, text, phase)) throw Error("'" + escape_terminal(text.substr(0, 80)) + "' is not a phase of an operation");
  return phase;
}

Verify verify_from_text(std::string_view text) {
  Verify verify{};
  if (!find_word(kVerifies, text, verify))
    throw Error("'" + escape_terminal(text.substr(0, 80)) + "' is not a way to verify (none, quick, full)");
  return verify;
}

std::string ReleaseId::folder() const { return ReleaseName::folder(version, tree); }

static void fields(auto& f, Of<Halt> auto& h) {
  f.need("id", h.id);
  f.maybe("who", h.who);
  f.maybe("machine", h.machine);
  f.maybe("why", h.why);
  f.maybe("since_ms", h.since_ms, 0);
}

static void fields(auto& f, Of<HelloReply> auto& h) {
  f.need("protocol", h.protocol);
  f.maybe("features", h.features);
  f.need("host_id", h.host_id);
  f.maybe("boot_id", h.boot_id);
  f.need("arch", h.arch);
  f.maybe("user", h.user);
  f.maybe("program", h.program);
  f.maybe("wall_ms", h.wall_ms, 0);
  f.maybe("deadman", h.deadman);
  f.maybe("trust", h.trust);
  f.maybe("halted", h.halted);
}

static void fields(auto& f, Of<Observation> auto& o) {
  f.need("current", o.current);
  f.maybe("running", o.running);
  f.maybe("link_target", o.link_target);
  f.maybe("tree_state", o.tree_state);
  f.maybe("findings", o.findings);
  f.maybe("way_back", o.way_back);
  f.maybe("releases", o.releases);
  f.maybe("last_op", o.last_op);
  f.maybe("last_forward", o.last_forward);
  f.maybe("epoch", o.epoch, 0);
  f.maybe("holder", o.holder);
  f.maybe("ledger_id", o.ledger_id);
  f.maybe("journal_seq", o.journal_seq, 0);
  f.maybe("journal_hash", o.journal_hash);
  f.maybe("process_ok", o.process_ok, false);
  f.maybe("process_detail", o.process_detail);
  f.maybe("drained", o.drained, false);
  f.maybe("free_bytes", o.free_bytes, 0u);
  f.maybe("free_inodes", o.free_inodes, 0u);
  f.maybe("release_bytes", o.release_bytes, 0u);
  f.maybe("back_state", o.back_state);
  f.maybe("back", o.back);
  f.maybe("back_findings", o.back_findings);
  f.maybe("back_ms", o.back_ms, 0);
}

static void fields(auto& f, Of<StageOffer> auto& s) {
  f.need("unit", s.unit);
  f.need("manifest", s.manifest);
  f.maybe("signature", s.signature);
  f.maybe("labels", s.labels);
}

static void fields(auto& f, Of<StageReply> auto& s) {
  f.need("release", s.release);
  f.need("complete", s.complete);
  f.maybe("lacking", s.lacking);
  f.maybe("tree_bytes", s.tree_bytes, 0u);
  f.maybe("files", s.files, 0u);
}

static void fields(auto& f, Of<ActivateRequest> auto& a) {
  f.need("unit", a.unit);
  f.need("op", a.op);
  f.maybe("rollout", a.rollout);
  f.need("forward", a.forward);
  f.maybe("from", a.from);
  f.maybe("to", a.to);
  f.maybe("undo_to", a.undo_to);
  f.need("epoch", a.epoch);
  f.need("holder", a.holder);
  f.maybe("ledger_id", a.ledger_id);
  f.maybe("who", a.who);
  f.maybe("why", a.why);
  f.maybe("confirm_within_ms", a.confirm_within_ms, 0);
  f.maybe("spread_ms", a.spread_ms, 0);
  f.maybe("demand_strong", a.demand_strong, false);
}

static void fields(auto& f, Of<ActivateReply> auto& a) {
  f.need("state", a.state);
  f.need("switched", a.switched);
  f.need("healthy", a.healthy);
  f.maybe("failed_step", a.failed_step);
  f.maybe("output", a.output);
  f.maybe("log_tail", a.log_tail);
  f.maybe("step_ms", a.step_ms);
  f.maybe("kept", a.kept);
}

static void fields(auto& f, Of<FenceRequest> auto& r) {
  fields(f, r.unit);
  f.need("epoch", r.epoch);
  f.need("holder", r.holder);
  f.maybe("ledger_id", r.ledger_id);
  f.maybe("op", r.op);
  f.maybe("who", r.who);
  f.maybe("why", r.why);
}

static void fields(auto& f, Of<HostError> auto& e) {
  f.need("code", e.code);
  f.need("message", e.message);
  f.maybe("hint", e.hint);
}

static void check(const Observation& o) {
  check(o.running);
  check(o.way_back);
  check(o.back);
  for (const auto& r : o.releases) check(r);
  if (o.last_op) check(*o.last_op);
  if (o.last_forward) check(*o.last_forward);
}
static void check(const StageOffer& s) { check(s.unit); }
static void check(const StageReply& s) { check(s.release); }
static void check(const ActivateRequest& a) {
  check(a.unit);
  check(a.from);
  check(a.to);
  check(a.undo_to);
}
static void check(const ActivateReply& a) { check(a.state); }
static void check(const FenceRequest& r) { check(r.unit); }
static void check(const HelloReply&) {}
static void check(const HostError&) {}

json::object to_json(const HelloReply& v) { return written(v); }
HelloReply hello_from_json(const json::object& o) { return read<HelloReply>(o); }
json::object to_json(const UnitRef& v) { return written(v); }
UnitRef unit_ref_from_json(const json::object& o) { return read<UnitRef>(o); }
json::object to_json(const ReleaseId& v) { return written(v); }
ReleaseId release_id_from_json(const json::object& o) { return read<ReleaseId>(o); }
json::object to_json(const OpState& v) { return written(v); }
OpState op_state_from_json(const json::object& o) { return read<OpState>(o); }
json::object to_json(const Observation& v) { return written(v); }
Observation observation_from_json(const json::object& o) { return read<Observation>(o); }
json::object to_json(const StageOffer& v) { return written(v); }
StageOffer stage_offer_from_json(const json::object& o) { return read<StageOffer>(o); }
json::object to_json(const StageReply& v) { return written(v); }
StageReply stage_reply_from_json(const json::object& o) { return read<StageReply>(o); }
json::object to_json(const ActivateRequest& v) { return written(v); }
ActivateRequest activate_request_from_json(const json::object& o) { return read<ActivateRequest>(o); }
json::object to_json(const ActivateReply& v) { return written(v); }
ActivateReply activate_reply_from_json(const json::object& o) { return read<ActivateReply>(o); }
json::object to_json(const FenceRequest& v) { return written(v); }
FenceRequest fence_request_from_json(const json::object& o) { return read<FenceRequest>(o); }
json::object to_json(const HostError& v) { return written(v); }
HostError host_error_from_json(const json::object& o) { return read<HostError>(o); }

}  // namespace ripcord
