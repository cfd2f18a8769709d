#include "tests/support/sim_fleet.hpp"

#include <fmt/format.h>

#include <utility>

namespace ripcord::test {
namespace {

bool is_open(OpPhase p) { return p == OpPhase::intent || p == OpPhase::activated || p == OpPhase::reverting; }

class SimPort : public HostPort {
 public:
  SimPort(Clock& clock, SimHost& host) : clock_(clock), h_(host) {}

  Task<Look> look(UnitRef, Verify, bool) override {
    co_await travel();
    Look l;
    l.hello.arch = "x86_64";
    l.hello.host_id = h_.name;
    l.hello.wall_ms = clock_.wall().ms;
    l.hello.deadman = "weak";
    l.hello.trust = "none";
    l.hello.halted = h_.halted;
    auto& o = l.unit;
    if (h_.faults.lie == SimFaults::Lie::forgets) {  // a host that was set back: it knows nothing of what it did
      h_.lied = true;
      co_return l;
    }
    o.current = h_.running ? Observation::Current::release : Observation::Current::none;
    o.running = h_.running;
    o.tree_state = h_.running ? "verified" : "unverified";
    o.process_ok = h_.running.has_value();
    o.drained = h_.drained;
    o.epoch = h_.epoch;
    o.holder = h_.holder;
    o.journal_seq = h_.journal;
    o.free_bytes = 1ull << 40;
    if (!h_.last_op.empty()) o.last_op = h_.ops.at(h_.last_op);
    if (!h_.last_forward.empty()) o.last_forward = h_.ops.at(h_.last_forward);
    co_return l;
  }

  Task<StageReply> stage_offer(StageOffer offer) override {
    co_await travel();
    if (h_.faults.untrusting) throw HostRefusal({"untrusted", "the seal is not signed by anybody this host trusts", ""});
    if (h_.faults.stage_refuses) throw HostRefusal({"no_space", "no space left on the device", ""});
    StageReply r;
    auto manifest = Manifest_digest(offer.manifest);
    r.release = {wanted_version_, manifest, sha256("tree of " + manifest.hex())};
    r.complete = h_.staged.contains(r.release.folder());
    if (!r.complete) r.lacking = {sha256("object")};
    if (h_.faults.lie == SimFaults::Lie::other_tree) r.release.tree = sha256("another tree"), h_.lied = true;
    staging_ = r.release;
    co_return r;
  }

  Task<StageReply> stage_pack(UnitRef, Pack) override {
    co_await travel();
    StageReply r;
    r.release = staging_;
    r.complete = true;
    r.files = 1;
    if (h_.staged.insert(staging_.folder()).second) ++h_.journal;
    co_return r;
  }

  Task<ActivateReply> activate(ActivateRequest a, Millis within, std::function<void(std::string)> on_step) override {
    co_await travel();
    fence_check(a.epoch, a.holder);
    const bool onward = a.forward && a.confirm_within_ms < 0;  // past a point of no return
    if (onward && a.demand_strong) throw HostRefusal({"weak_deadman", "nothing is armed, and a strong dead-man switch is demanded", ""});
    if (onward && h_.halted) throw HostRefusal({"halted", "this host is " + h_.halted->text(), ""});  // also what it knows already
    if (onward) a.forward = false;
    ActivateReply r;
    if (auto known = h_.ops.find(a.op); known != h_.ops.end()) {  // asked twice: never done twice
      r.state = known->second;
      r.healthy = r.state.phase == OpPhase::confirmed;
      if (!r.state.forward) note_drained_back(r.state);
      co_return r;
    }
    if (a.forward && h_.halted) throw HostRefusal({"halted", "this host is " + h_.halted->text(), ""});
    end_pending();
    if (a.forward && h_.faults.drain_fails) {
      r.state.op = a.op;
      r.failed_step = "drain";
      r.output = "the balancer says no\n";
      co_return r;
    }
    if (a.forward && h_.running != a.from) throw HostRefusal({"conflict", "current names another release", ""});
    if (!a.forward && h_.running != a.from && h_.running != a.to) throw HostRefusal({"conflict", "current names neither", ""});
    if (a.to && !h_.staged.contains(a.to->folder()) && h_.running != a.to && a.from != a.to && !held_before(*a.to))
      throw HostRefusal({"missing_release", "the release is not here", ""});
    OpState s;
    s.op = a.op;
    s.rollout = a.rollout;
    s.forward = a.forward;
    s.from = a.from;
    s.to = a.to;
    s.epoch = a.epoch;
    s.at_ms = clock_.wall().ms;
    if (a.forward && h_.faults.dies_before_switch) {
      h_.faults.dies_before_switch = false;
      h_.last_op = h_.last_forward = a.op;
      ++h_.journal;
      h_.set(h_.ops[a.op] = s, OpPhase::intent);
      h_.arm(a.op, (clock_.elapsed() + Millis(a.confirm_within_ms)).us);
      throw LinkError(LinkFault::unreachable, "closed", "the session broke");
    }
    bool moves = h_.running != a.to;
    if (moves) ++h_.switches[a.op];
    h_.running = a.to;
    h_.last_op = a.op;
    if (a.forward) h_.last_forward = a.op;
    ++h_.journal;
    auto& op = h_.ops[a.op] = s;
    if (h_.witness && moves) h_.witness->on_switched(h_, op, a.holder);
    h_.set(op, a.forward ? OpPhase::activated : h_.faults.way_back_broken ? OpPhase::needs_operator : OpPhase::confirmed);
    if (a.forward) h_.arm(a.op, (clock_.elapsed() + Millis(a.confirm_within_ms)).us);
    if (a.forward && std::exchange(h_.faults.cord_in_step, false)) {
      goes_back(op, "operation 'rb-1' ended it");
      ++h_.epoch, h_.holder = "cord";
    }
    if (a.forward && h_.faults.dies_after_switch) h_.cut = true;
    if (on_step) on_step("activated");
    if ((a.forward || onward) && h_.faults.lose_activate_reply) {
      h_.faults.lose_activate_reply = false;
      co_await sleep_until(clock_, clock_.elapsed() + std::min(within, Millis(20000)));
      throw LinkError(LinkFault::unreachable, "silent", "the host fell silent");
    }
    co_await travel();
    r.state = h_.ops.at(a.op);
    r.switched = moves;
    if (onward) note_drained(r.state);
    else if (!a.forward) note_drained_back(r.state);
    r.healthy = !(a.forward ? h_.faults.unhealthy : h_.faults.way_back_broken) && r.state.phase != OpPhase::reverting;
    if (!r.healthy && r.state.phase != OpPhase::reverting) r.failed_step = "health", r.output = "500", r.log_tail = "boom";
    co_return r;
  }

  Task<ActivateReply> finish(UnitRef, std::string op, Millis) override {
    co_await travel();
    ActivateReply r;
    r.state = h_.ops.at(op);
    r.healthy = r.state.phase == OpPhase::activated && !h_.faults.unhealthy;
    if (!r.healthy) r.failed_step = "health";
    co_return r;
  }

  Task<OpState> state(UnitRef, std::string op) override {
    co_await travel();
    auto found = h_.ops.find(op);
    if (found != h_.ops.end()) co_return found->second;
    OpState none;
    none.op = op;
    co_return none;
  }

  Task<OpState> confirm(UnitRef, std::string op, std::int64_t epoch, std::string holder) override {
    co_await travel();
    fence_check(epoch, holder);
    auto& s = h_.ops.at(op);
    if (s.phase == OpPhase::activated && std::exchange(h_.faults.lapses_at_confirm, false)) goes_back(s, "not confirmed in time");
    if (h_.faults.lie == SimFaults::Lie::confirms_nothing || h_.faults.lie == SimFaults::Lie::impossible_phase) {
      h_.lied = true;
      OpState said = s;
      said.phase = h_.faults.lie == SimFaults::Lie::confirms_nothing ? OpPhase::confirmed : OpPhase::intent;
      co_return said;
    }
    if (s.phase == OpPhase::activated) {
      h_.set(s, OpPhase::confirmed);
      h_.disarm(op);
      ++h_.journal;
    }
    if (h_.faults.lose_confirm_reply) {
      h_.faults.lose_confirm_reply = false;
      throw LinkError(LinkFault::unreachable, "closed", "the session broke");
    }
    OpState said = s;
    note_drained(said);
    co_return said;
  }

  Task<> fence(UnitRef, std::int64_t epoch, std::string holder, std::string) override {
    co_await travel();
    end_orphans();
    fence_check(epoch, holder);
  }

  Task<HealthReport> health(UnitRef) override {
    co_await travel();
    HealthReport r;
    r.healthy = !h_.faults.unhealthy_later;
    r.detail = r.healthy ? "" : "GET /healthz answered 500";
    co_return r;
  }

  Task<json::object> ask(json::object request, Millis) override {
    co_await travel();
    auto what = get_string(request, "do");
    if (what != "halt" && what != "unhalt") throw Error("not simulated");
    json::object reply{{"was", nullptr}};
    if (h_.halted) reply["was"] = to_json(*h_.halted);
    h_.halted.reset();
    if (what == "halt") h_.halted = halt_from_json(get_object(request, "halt")), reply["halted"] = to_json(*h_.halted);
    co_return reply;
  }
  Task<std::string> ask_data(json::object, Millis) override { throw Error("not simulated"); }
  void hang_up() override {}

 private:
  static Digest Manifest_digest(const std::string& bytes) { return sha256(bytes); }

  Task<> travel() {
    if (h_.faults.key_changes_at >= 0 && h_.key_asks++ >= h_.faults.key_changes_at) {
      co_await sleep_until(clock_, clock_.elapsed() + Millis(h_.faults.latency_ms));
      throw LinkError(LinkFault::trust, "host_key_changed", fmt::format("the host key of '{}' changed", h_.name), "`ripcord trust add --replace`");
    }
    if (h_.faults.refuses_logins_at >= 0 && h_.logins++ >= h_.faults.refuses_logins_at) {
      ++h_.refused;
      throw LinkError(LinkFault::unreachable, "auth_failed", fmt::format("'{}' lets nobody in", h_.name));
    }
    if (h_.faults.dies_at_request >= 0 && !h_.cut && h_.requests++ >= h_.faults.dies_at_request && h_.boots == 0) {
      h_.cut = true;
      h_.dark = h_.faults.loses_power;
      if (h_.faults.boot_ms >= 0) {
        h_.boots_at_us = (clock_.elapsed() + Millis(h_.faults.boot_ms)).us;
        if (h_.timed) h_.timed->insert(&h_);
      }
    }
    if (h_.faults.unreachable || h_.cut) {
      co_await sleep_until(clock_, clock_.elapsed() + Millis(100));
      throw LinkError(LinkFault::unreachable, "connect_timeout", "connection timed out");
    }
    co_await sleep_until(clock_, clock_.elapsed() + Millis(h_.faults.latency_ms));
    h_.pass_time(clock_.elapsed(), clock_.wall(), true);
  }

  void fence_check(std::int64_t epoch, const std::string& holder) {
    if (epoch < h_.epoch || (epoch == h_.epoch && !h_.holder.empty() && holder != h_.holder))
      throw HostRefusal({"fenced", fmt::format("epoch {} of {} was seen", h_.epoch, h_.holder), ""});
    h_.epoch = epoch;
    h_.holder = holder;
    if (h_.witness) h_.witness->on_accepted(h_, epoch, holder);
  }

  void goes_back(OpState& op, std::string why) {
    h_.set(op, OpPhase::reverting, std::move(why));
    h_.arm(op.op, (clock_.elapsed() + Millis(3000)).us);
  }

  void note_drained(OpState& said) {
    if (h_.faults.undrain_fails > 0 && said.phase == OpPhase::confirmed) --h_.faults.undrain_fails, said.detail = "undrain: the balancer says no";
  }

  void note_drained_back(OpState& said) {
    h_.drained = h_.faults.undrain_back_fails > 0 && said.phase == OpPhase::confirmed;
    if (h_.drained) --h_.faults.undrain_back_fails, said.detail = "undrain: the balancer says no";
  }

  // What a session that may write does when it begins.
  void end_orphans() {
    for (auto& [id, s] : h_.ops)
      if (s.phase == OpPhase::intent) h_.set(s, OpPhase::failed_unchanged, "its helper ended before the switch"), h_.disarm(id);
  }

  void end_pending() {
    end_orphans();
    for (auto& [id, s] : h_.ops)
      if (s.phase == OpPhase::activated) {
        h_.running = s.from;
        h_.set(s, OpPhase::reverted, "ended by a newer operation");
        h_.disarm(id);
      }
  }

  bool held_before(const ReleaseId& release) const {
    for (const auto& [id, s] : h_.ops)
      if (s.from == release || s.to == release) return true;
    return false;
  }

  Clock& clock_;
  SimHost& h_;
  ReleaseId staging_;

 public:
  std::string wanted_version_ = "2.0";
};

}  // namespace

void SimHost::set(OpState& op, OpPhase phase, std::string detail) {
  open += static_cast<int>(is_open(phase)) - static_cast<int>(is_open(op.phase));
  op.phase = phase;
  if (!detail.empty()) op.detail = std::move(detail);
  if (witness) witness->on_state(*this, op);
}

void SimHost::arm(const std::string& op, std::int64_t until_us) {
  deadline_us[op] = until_us;
  if (timed) timed->insert(this);
}

void SimHost::disarm(const std::string& op) { deadline_us.erase(op); }

void SimHost::pass_time(Elapsed now, WallTime wall, bool asked) {
  const bool boots_now = boots_at_us > 0 && boots_at_us <= now.us;
  if (boots_now) {
    boots_at_us = 0;
    ++boots;
    cut = dark = false;
  }
  if (dark || (faults.deadman_dead && !asked && !boots_now)) return;
  for (auto it = deadline_us.begin(); it != deadline_us.end();) {
    if (it->second > now.us && !boots_now) {  // another boot id means: revert now
      ++it;
      continue;
    }
    auto& s = ops.at(it->first);
    s.at_ms = wall.ms;
    running = s.from;
    ++journal;
    if (s.phase == OpPhase::intent) set(s, OpPhase::failed_unchanged, "not confirmed in time");
    else set(s, OpPhase::reverted, boots_now ? "the host was booted" : "not confirmed in time");
    it = deadline_us.erase(it);
  }
}

const OpState* SimHost::open_op() const {
  for (const auto& [id, s] : ops)
    if (is_open(s.phase)) return &s;
  return nullptr;
}

SimFleet::SimFleet(Clock& clock, const std::vector<std::string>& names) : clock_(clock) {
  for (const auto& name : names) {
    hosts_[name] = std::make_unique<SimHost>();
    hosts_[name]->name = name;
    hosts_[name]->timed = &timed_;
    ports_[name] = std::make_unique<SimPort>(clock_, *hosts_[name]);
  }
}

HostPort& SimFleet::port(const std::string& host) { return *ports_.at(host); }

void SimFleet::pass_time() {
  for (auto it = timed_.begin(); it != timed_.end();) {
    auto* host = *it;
    host->pass_time(clock_.elapsed(), clock_.wall());
    it = host->deadline_us.empty() && host->boots_at_us == 0 ? timed_.erase(it) : std::next(it);
  }
}

void SimFleet::watch(SimWitness& witness) {
  for (auto& [name, host] : hosts_) host->witness = &witness;
}

int SimFleet::activated_unconfirmed() {
  int n = 0;
  for (auto& [name, host] : hosts_) n += host->open > 0;
  return n;
}

}  // namespace ripcord::test
