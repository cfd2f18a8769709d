#include "manifests/host/revert.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "core/base/files.hpp"
#include "manifests/host/deadman.hpp"
#include "manifests/host/drain.hpp"
#include "manifests/host/health.hpp"
#include "manifests/host/look_hint.hpp"
#include "manifests/host/placed.hpp"
#include "manifests/host/service.hpp"
#include "manifests/host/step_gate.hpp"
#include "manifests/host/switch_link.hpp"

namespace ripcord {
namespace {

constexpr Millis kHealthyDeadline{60000}, kMinHealthy{3000};
constexpr Millis kJournalWait{5000};
// Trees above this are compared by size, mtime, ctime and inode with their last full hash: promise 5 leaves five seconds.
constexpr std::uint64_t kHashLimit = 512u << 20;

// Everything a way back needs to know, and where it stands.
struct WayBack {
  HostContext& host;
  const UnitLayout& unit;
  const UnitLock& lock;
  Operation op;
  UnitHistory history;
  Pending pending;

  void read() {
    history = fold(Journal(unit).records());
    if (const Operation* found = history.find(op.state.op)) op = *found;
  }
  // Journals, waiting a little when the disk is full. HostFailure no_space when it stays so.
  void append(std::string_view kind, json::object members, Millis wait) {
    members["op"] = op.state.op;
    for (Elapsed end = boot_now() + wait;;) {
      try {
        Journal(unit).append(host, lock, kind, members);  // a fresh one each time: after a failure it must be read again
        return;
      } catch (const HostFailure& e) {
        if (e.code() != "no_space" || boot_now() >= end) throw;
      }
      ::usleep(250000);
    }
  }
  std::string for_the_person() {
    std::optional<ReleaseContext> old;
    try {
      if (op.state.from) old = ReleaseContext::load(host, unit, *op.state.from, history);
    } catch (const Error&) {  // then without the names of its logs
    }
    return how_to_look(unit, old ? &*old : nullptr);
  }
  OpState end(std::string_view kind, const std::string& detail) {
    append(kind, {{"detail", kind == "NEEDS_OPERATOR" ? detail + "; " + for_the_person() : detail}}, kJournalWait);
    if (kind != "NEEDS_OPERATOR") {  // what an operation that never armed has prepared
      forget_prepared(placements_of(op.intent));
      ::unlink(back_link(unit, op.state.op).c_str());
      ::unlink(next_link(unit, op.state.op).c_str());
    }
    std::string left = clean_up(host, unit, lock, kind == "NEEDS_OPERATOR");
    read();
    OpState s = state_of(op, host);
    if (!left.empty()) s.detail += "; " + left;
    return s;
  }
};

std::string shown(const CurrentLink& c) {
  switch (c.kind) {
    case Observation::Current::none: return "nothing";
    case Observation::Current::folder: return "a folder";
    default: return "'" + c.target + "'";
  }
}

// Empty: the old tree is right; else why it is not and cannot be made so.
std::string make_whole(WayBack& w) {
  if (!w.op.state.from) return "";
  const ReleaseId& from = *w.op.state.from;
  try {
    auto release = load_release(w.unit, from.folder());
    if (release && release->id == from) {
      bool small = release->tree.bytes() <= kHashLimit;
      VerifyResult found = verify_release(w.unit, *release, small ? Verify::full : Verify::quick);
      if (found.clean()) return "";
      if (heal_release(w.host, w.unit, w.lock, from)) return "";
      return fmt::format("release {} is damaged ({} of '{}') and cannot be put right from other releases on this host", from.folder(),
                         found.findings.front().kind, found.findings.front().path);
    }
    if (heal_release(w.host, w.unit, w.lock, from)) return "";
    return fmt::format("release {} is not on this host any more", from.folder());
  } catch (const Error& e) {
    return fmt::format("release {} cannot be verified: {}", from.folder(), e.what());
  }
}

// The prepared link is renamed over `current`; it is made now where somebody removed it.
void switch_link_back(WayBack& w) {
  const std::string& op = w.op.state.op;
  const auto& target = w.pending.back;
  if (!target) return remove_current(w.unit);
  std::string prepared = back_link(w.unit, op);
  if (read_link(prepared) != target) make_link(prepared, *target);
  rename_to_current(w.unit, prepared);
}

// Restart and health of the old release; empty: well.
std::string bring_back(WayBack& w) {
  StepGate gate(w.host, w.unit, w.lock);
  std::optional<ReleaseContext> old, broken;
  try {
    if (w.op.state.to) broken = ReleaseContext::load(w.host, w.unit, *w.op.state.to, w.history);
  } catch (const Error&) {  // then its services are known by our notes only, and starting the old ones ends them
  }
  try {
    if (w.op.state.from) old = ReleaseContext::load(w.host, w.unit, *w.op.state.from, w.history);
    std::uint64_t now = process_start_now();
    auto moved = switch_services(broken ? &*broken : nullptr, old ? &*old : nullptr, SwitchManner::back, gate);
    if (!moved.outcome.ok) return moved.outcome.output;
    if (!old) return "";
    Health timing = old->spec.health;
    timing.healthy_deadline = std::min(timing.healthy_deadline, kHealthyDeadline);
    timing.min_healthy_time = std::min(timing.min_healthy_time, kMinHealthy);
    auto health = watch_health(*old, {now, true}, timing, boot_now(), [] {});
    return health.ok ? "" : health.output;
  } catch (const Error& e) {
    return e.what();
  }
}

OpState go_back(WayBack& w, const std::string& why, RevertProgress& progress) {
  std::string trouble = make_whole(w);
  if (!trouble.empty()) return w.end("NEEDS_OPERATOR", fmt::format("{}; did not go back: {}", why, trouble));
  for (int attempt = w.op.attempts + 1; attempt <= kMaxAttempts; ++attempt) {
    bool noted = true;
    try {
      w.append("REVERTING", {{"attempt", attempt}, {"elapsed_us", boot_now().us}, {"detail", why}}, Millis(0));
    } catch (const HostFailure& e) {
      if (e.code() != "no_space") throw;
      noted = false;  // going back matters more than saying so first: the INTENT and the armed record are durable
    }
    switch_link_back(w);
    restore_placed(w.pending.files);
    trouble = bring_back(w);
    if (trouble.empty()) {
      progress = {true, noted ? why : why + " (the journal could not be written at first: the disk was full)"};
      return w.end("REVERTED", progress.detail);
    }
  }
  std::string to = w.op.state.from ? w.op.state.from->folder() : std::string("nothing deployed");
  return w.end("NEEDS_OPERATOR", fmt::format("{}; 'current' is back on {}, but after {} attempts it does not run well: {}", why, to,
                                             kMaxAttempts, trouble.empty() ? "it was cut short each time" : trouble));
}

}  // namespace

OpState revert(HostContext& host, const UnitLayout& unit, const UnitLock& lock, const std::string& op, const std::string& why,
               RevertProgress* known) {
  RevertProgress own;
  RevertProgress& progress = known ? *known : own;
  WayBack w{host, unit, lock, {}, {}, {}};
  w.op.state.op = op;
  w.read();
  if (w.op.terminal() || w.op.state.phase == OpPhase::none) return state_of(w.op, host);
  if (auto p = read_pending(unit); p && p->op == op) w.pending = completed(*p, w.op);
  else w.pending = pending_from(w.op);
  if (progress.done) return w.end("REVERTED", progress.detail);

  kill_hook(unit, host.boot_id);
  CurrentLink current = read_current(unit);
  const OpState& s = w.op.state;
  bool at_to = s.to ? current.release == s.to || current.folder == s.to->folder() : current.kind == Observation::Current::none;
  bool at_from = w.pending.back ? current.target == *w.pending.back : current.kind == Observation::Current::none;
  if (at_from && s.phase == OpPhase::intent) {
    restore_placed(w.pending.files);
    return w.end("FAILED_UNCHANGED", why);
  }
  if (at_to || at_from) return go_back(w, why, progress);
  return w.end("NEEDS_OPERATOR", fmt::format("{}; 'current' names {}, which is neither the old nor the new release of this operation", why,
                                             shown(current)));
}

std::string clean_up(HostContext& host, const UnitLayout& unit, const UnitLock& lock, bool needs_person) {
  std::string trouble;
  try {
    if (auto pending = read_pending(unit)) {
      disarm(host, *pending);
      if (!needs_person) remove_pending(unit, *pending);
      else if (::unlink(unit.pending().c_str()) == 0) fsync_dir(unit.state);  // old bytes stay, for the person who comes
    }
  } catch (const Error& e) {
    trouble = e.what();
  }
  if (needs_person) return is_drained(unit) ? "the host stays drained" : trouble;
  auto undrained = undrain(host, unit, lock, fold(Journal(unit).records()));
  return undrained.ok ? trouble : undrained.output;
}

}  // namespace ripcord
