#include "plans/rollback/rollback_steps.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "plans/hosts/kept_tree.hpp"

namespace ripcord {
namespace {

using Result = RollbackLine::Result;

constexpr int kTries = 6;     // a host that another cord, or a rollout, changes meanwhile
constexpr int kSessions = 3;  // a session that breaks off in the middle

std::int64_t above(const HostRun& h, std::int64_t epoch) {
  auto seen = h.look.look ? h.look.look->unit.epoch : 0;
  return seen <= kMaxEpoch ? std::max(epoch, seen + 1) : epoch;
}

// Somebody moved it since it was looked at: it goes where it was to go, from where it is now.
void take_over(HostRun& h, const RollbackOrder& order) {
  auto now = plan_line(h.look, order.undoes, order.to_version);
  if (!h.line.selected) {
    h.line.after = now.before;
    return;
  }
  h.arrived = now.before == h.line.target && now.result != Result::returned;
  if (h.arrived) {
    h.line.after = now.before;
    return;
  }
  h.line.before = now.before;
  h.line.result = Result::returned;
}

// Two cords at once should not meet again at the same instant.
Millis pause_for(const HostRun& h, const RollbackOrder& order) {
  return Millis(20 + static_cast<std::int64_t>(sha256(h.line.host + order.op).short_hex()[0]));
}

}  // namespace

// What came of one request to a host.
struct RollbackSteps::Answer {
  bool done = false, again = false, supply = false, trust = false;
  Result result = Result::failed;
  std::string detail;
  int lost = 0;
};

Task<> RollbackSteps::look(HostRun& h, const RollbackOrder& order, Verify how) {
  UnitRef unit = order.unit;
  std::string version = order.to_version.value_or("");
  HostLook seen;
  seen.host = h.look.host;
  try {
    seen.look = co_await ports_.port(seen.host->name).look_back(std::move(unit), how, std::move(version));
  } catch (const LinkError& e) {
    seen.fault_kind = e.fault(), seen.fault_name = e.name(), seen.fault = e.message(), seen.hint = e.hint();
  } catch (const HostRefusal& e) {
    seen.fault_kind = LinkFault::host, seen.fault_name = e.code(), seen.fault = e.message(), seen.hint = e.hint();
  } catch (const Error& e) {
    seen.fault_kind = LinkFault::host, seen.fault_name = "protocol", seen.fault = e.what(), seen.hint = e.hint();
  }
  h.look = std::move(seen);
}

Task<> RollbackSteps::act(HostRun& h, const RollbackOrder& order) {
  int lost = 0, supplied = 0;
  std::int64_t epoch = above(h, order.epoch);
  const Elapsed until = clock_.elapsed() + order.within;
  for (int tries = 0;; ++tries) {
    Answer a = co_await ask(h, order, epoch);
    lost += a.lost;
    if (a.done) co_return;
    bool go_on = clock_.elapsed() < until && tries < kTries && lost < kSessions && (!a.supply || supplied == 0);
    if ((!a.again && !a.supply) || !go_on) {
      h.line.result = a.result;
      h.line.detail = a.detail;
      h.line.trust = a.trust;
      if (a.result == Result::unreachable) h.line.after.reset();
      co_return;
    }
    if (a.supply) {
      ++supplied;
      h.line.lacks = "damaged";
    } else if (a.lost > 0) {  // its journal knows what came of it, and the same operation is asked for again
      co_await sleep_until(clock_, clock_.elapsed() + Millis(300 * lost));
    } else {
      co_await sleep_until(clock_, clock_.elapsed() + pause_for(h, order));
      co_await look(h, order, Verify::none);
      if (!h.look.look) {
        h.line.result = Result::unreachable;
        h.line.detail = h.look.fault;
        h.line.trust = h.look.fault_kind == LinkFault::trust;
        h.line.after.reset();
        co_return;
      }
      if (h.line.result == Result::returned || h.line.result == Result::unchanged) take_over(h, order);
      epoch = above(h, epoch);
    }
  }
}

Task<RollbackSteps::Answer> RollbackSteps::ask(HostRun& h, const RollbackOrder& order, std::int64_t epoch) {
  Answer a;
  auto& line = h.line;
  try {
    bool moves = line.result == Result::returned && !h.arrived, mended = false;
    if (moves && !line.lacks.empty()) {
      auto manifest = h.manifest ? *h.manifest : line.target->manifest;
      line.target = co_await supplier_.send(line.host, line.target, manifest, h.look.host->labels);
      line.detail = line.lacks == "missing" ? "the release was brought to it" : "the release was damaged, and mended";
      mended = line.lacks == "damaged";
      line.lacks.clear();
    }
    if (moves) co_await go(h, order, epoch);
    else a.again = co_await fence(h, order, epoch);
    if (mended) {  // behind the switch, which does not wait for it
      UnitRef unit = order.unit;
      line.detail += co_await kept_tree_words(ports_.port(line.host), std::move(unit), h.look.look->unit.journal_seq);
    }
    a.done = !a.again;
  } catch (const LinkError& e) {
    a.lost = 1;
    a.again = e.fault() == LinkFault::unreachable && !is_final(e);
    a.result = e.fault() == LinkFault::host ? Result::failed : Result::unreachable;
    a.trust = e.fault() == LinkFault::trust;
    a.detail = e.message();
  } catch (const HostRefusal& e) {
    a.again = e.code() == "fenced" || e.code() == "conflict" || e.code() == "busy";
    a.supply = line.target && (e.code() == "damaged" || e.code() == "missing_release");
    a.result = e.code() == "conflict" ? Result::conflict : Result::failed;
    a.trust = e.code() == "untrusted";
    a.detail = e.message();
  } catch (const Error& e) {
    a.detail = e.what();
  }
  if (a.supply) h.manifest = line.target->manifest;
  co_return a;
}

// True: somebody moved it before the fence was there.
Task<bool> RollbackSteps::fence(HostRun& h, const RollbackOrder& order, std::int64_t epoch) {
  FenceRequest request{order.unit, epoch, order.holder, order.ledger_id, order.op, order.who, order.why};
  h.look.look = co_await ports_.port(h.line.host).fence_and_look(std::move(request));
  auto now = plan_line(h.look, order.undoes, order.to_version).before;
  bool moved = now != h.line.after;
  h.line.after = now;
  if (!moved || !h.line.selected || h.line.result != Result::unchanged) co_return false;
  take_over(h, order);
  co_return h.line.result == Result::returned && !h.arrived;
}

Task<> RollbackSteps::go(HostRun& h, const RollbackOrder& order, std::int64_t epoch) {
  auto& line = h.line;
  ActivateRequest request;
  request.unit = order.unit;
  request.op = fmt::format("{}-{}{}", order.op, sha256(line.host).short_hex().substr(0, 8), h.moves ? fmt::format("-{}", h.moves) : "");
  request.rollout = order.op;
  request.forward = false;
  request.from = line.before;
  request.to = line.target;
  request.epoch = epoch;
  request.holder = order.holder;
  request.ledger_id = order.ledger_id;
  request.who = order.who;
  request.why = order.why;
  std::function<void(std::string)> nobody;
  ActivateReply reply = co_await ports_.port(line.host).activate(std::move(request), order.within, std::move(nobody));
  ++h.moves;
  bool there = reply.state.phase == OpPhase::confirmed;
  line.after = there || reply.switched ? line.target : line.before;
  if (!reply.kept.empty()) line.detail += (line.detail.empty() ? "edited by hand: " : "; edited by hand: ") + join(reply.kept, "; ");
  if (there) line.drained = reply.state.detail;
  if (!line.drained.empty()) line.detail += fmt::format("{}not back in service: {}", line.detail.empty() ? "" : "; ", line.drained);
  if (there) co_return;
  line.result = Result::failed;
  line.detail = fmt::format("{}{}", reply.failed_step.empty() ? "going back failed" : reply.failed_step + " failed",
                            reply.state.detail.empty() ? "" : ": " + reply.state.detail);
}

}  // namespace ripcord
