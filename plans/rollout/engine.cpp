#include "plans/rollout/engine.hpp"

#include <fmt/format.h>

#include <functional>
#include <utility>

#include "plans/ledger/halt.hpp"
#include "plans/ledger/history.hpp"
#include "plans/ledger/lease_keeper.hpp"
#include "plans/rollout/host_steps.hpp"
#include "plans/rollout/once_step.hpp"
#include "plans/rollout/opening.hpp"
#include "plans/rollout/silent_hosts.hpp"
#include "plans/rollout/step_results.hpp"

namespace ripcord {
struct Engine::Impl {
  Loop& loop;
  Clock& clock;
  Ledger& ledger;
  HostPorts& ports;
  PackSource& packs;
  const Fleet& fleet;
  ReleaseOnHand release;
  RolloutObserver& observer;
  EngineOptions options;
  LeaseKeeper lease;

  std::optional<RolloutState> state;
  Signal wake;                       // something came of something
  int in_flight = 0;
  SilentHosts silent;
  bool round_running = false;
  WallTime last_round{0};
  bool stopping = false;
  std::string stop_why, stop_by;     // why we stop before the end, and "signal" | "policy"
  std::string fenced_why;            // another holder has taken over: nothing more may be done
  std::string said;                  // last reason for waiting that the observer heard

  Impl(Loop& l, Clock& c, Ledger& led, HostPorts& p, PackSource& pk, const Fleet& f, ReleaseOnHand r, RolloutObserver& o, EngineOptions opt)
      : loop(l), clock(c), ledger(led), ports(p), packs(pk), fleet(f), release(std::move(r)), observer(o), options(std::move(opt)),
        lease(clock, ledger, options.lease_ttl, options.lease_renew) {
    if (options.holder.empty()) options.holder = random_hex(8);
  }

  const HostPlan& plan(int host) const { return state->spec().hosts[static_cast<std::size_t>(host)]; }

  // --- ledger -----------------------------------------------------------------------------------------------------------------
  // Folds everything that is in the ledger and not in the state yet: our own entries and other processes', in one order.
  Task<> sync() {
    if (!state) co_return;
    auto entries = co_await ledger.read_later(synced + 1);
    for (const auto& entry : entries) {
      if (entry.seq <= synced) continue;  // another task's sync came first
      synced = entry.seq;
      if (!concerns_rollout(entry.body, state->spec())) continue;
      state->apply(entry);
      observer.on_entry(entry, *state);
      auto other = lease.held() ? ended_for(lease.lease(), entry.body) : "";
      if (!other.empty()) lost_to_another(std::move(other));
    }
  }
  std::int64_t synced = 0;

  json::object ours(json::object body) const {
    body["rollout"] = state->spec().id;
    body["unit"] = state->spec().unit;
    body["epoch"] = lease.lease().epoch;
    return body;
  }

  Task<> append(json::object body) {
    std::vector<json::object> bodies{ours(std::move(body))};
    std::optional<LedgerStore::Guard> guard = lease.guard();
    co_await ledger.append(std::move(bodies), std::move(guard));
    co_await sync();
  }

  // Onto a ledger in which nothing is in its way; somebody else's rollout may begin at this very moment.
  Task<> append_start(json::object first) {
    first = ours(std::move(first));
    std::function<void(const std::vector<LedgerEntry>&)> look = [this](const std::vector<LedgerEntry>& entries) {
      require_free(entries, state->spec(), options.seen);
      halt.refuse(entries, state->spec().fleet);
    };
    co_await append_when(ledger, std::move(first), lease.guard(), std::move(look));
    co_await sync();
  }

  HaltWatch halt{options.halt_file};  // what our own file says; the ledger's word is in the state
  Elapsed next_halt_look;
  Task<> note_halt() {
    if (clock.elapsed() < next_halt_look) co_return;
    next_halt_look = clock.elapsed() + options.steering_poll;
    auto heard = halt.heard();
    if (!heard || state->halted || state->rolling_back || state->aborted || state->ending != Ending::open) co_return;
    json::object entry{{"kind", "rollout.halted"}, {"halt", to_json(*heard)}, {"why", heard->why}};
    co_await append(std::move(entry));
  }

  void lost_to_another(std::string why) {
    if (fenced_why.empty()) fenced_why = std::move(why);
    wake.notify_all();
  }

  void stop(std::string why, std::string by) {
    if (!stopping) stopping = true, stop_why = std::move(why), stop_by = std::move(by);
    wake.notify_all();
  }

  // --- one host ---------------------------------------------------------------------------------------------------------------
  StepContext context(int host, std::string op) {
    const auto& name = plan(host).name;
    auto on_step = [this, name](std::string step) { observer.on_step(name, step); };
    return {clock, ports.port(name), state->spec(), plan(host), std::move(op), options.holder, ledger.id(), lease.lease().epoch,
            state->hosts()[static_cast<std::size_t>(host)].attempts, on_step, [this] { return lease.valid(); }, options.mend};
  }

  Task<> intend(int host, std::string op, bool forward, bool rehearsal, bool lapse) {
    const auto& p = plan(host);
    json::object entry{{"kind", "host.intent"}, {"host", p.name}, {"op", op}, {"forward", forward}};
    if (rehearsal) entry["rehearsal"] = true;
    if (lapse) entry["lapse"] = true;
    entry["from"] = forward ? (p.from ? p.from->folder() : "nothing") : p.to.folder();
    entry["to"] = forward ? p.to.folder() : (p.from ? p.from->folder() : "nothing");
    co_await append(std::move(entry));
  }

  Task<StepResult> step(NextAction action, int host) {
    if (std::holds_alternative<StageRelease>(action)) {
      StepContext c = context(host, "");
      const Host* known = fleet.find(plan(host).name);
      Labels labels = known ? known->labels : Labels{};
      observer.on_step(plan(host).name, "staging");
      silent.asked(host, clock.elapsed());
      c.on_answer = [this, host] { silent.answered(host); };
      co_return co_await stage_step(std::move(c), release, std::move(labels), packs);
    }
    if (std::holds_alternative<Resolve>(action)) {
      StepContext c = context(host, state->hosts()[static_cast<std::size_t>(host)].op);
      observer.on_step(plan(host).name, "asking");
      if (state->hosts()[static_cast<std::size_t>(host)].lapsing) co_return co_await lapse_step(std::move(c), true);
      co_return co_await resolve_step(std::move(c));
    }
    bool lapse = std::holds_alternative<Lapse>(action), forward = lapse || std::holds_alternative<Activate>(action);
    bool rehearsal = forward ? state->hosts()[static_cast<std::size_t>(host)].walked : std::get<GoBack>(action).rehearsal;
    std::string op = new_op_id();
    co_await intend(host, op, forward, rehearsal, lapse);
    if (!lease.valid()) co_return StepResult{.fenced = true, .why = "the lease ran out before the command left"};
    // The last look before the command leaves: intend() has read the ledger to its end.
    auto heard = halt.heard();
    if (forward && (state->halted || heard)) {
      StepResult r;
      r.halted = true;
      if (heard) r.why = heard->text();
      r.entry = {{"kind", "host.staged"}, {"host", plan(host).name}, {"op", op}, {"reason", "halted before the command left"}};
      co_return r;
    }
    StepContext c = context(host, op);
    observer.on_step(plan(host).name, forward ? "activating" : "going back");
    if (lapse) co_return co_await lapse_step(std::move(c), false);
    if (forward && !state->spec().no_return.empty()) co_return co_await onward_step(std::move(c));
    if (!forward && rehearsal) co_return co_await walk_back_step(std::move(c));
    if (!forward) co_return co_await mend_and_go_back_step(std::move(c));
    Millis spread(0);
    if (state->spec().spread.count() > 0)
      spread = Millis(static_cast<std::int64_t>(std::hash<std::string>{}(op) % static_cast<std::uint64_t>(state->spec().spread.count())));
    co_return co_await activate_step(std::move(c), spread);
  }

  Task<> run_host(NextAction action, int host) {
    std::string broken;
    try {
      Elapsed begin = clock.elapsed();
      bool moves = !std::holds_alternative<StageRelease>(action) && !std::holds_alternative<Resolve>(action);
      StepResult result = co_await step(std::move(action), host);
      if (moves) result.entry["took_ms"] = (clock.elapsed() - begin).count();
      co_await sync();  // after a step that took long, or a process that stood still
      if (!fenced_why.empty()) {  // what became of the host, whoever goes on asks it
      } else if (result.fenced) {
        lost_to_another(plan(host).name + ": " + result.why);
      } else if (result.controller_fault) {
        stop(result.why, "policy");
      } else {
        bool confirmed = result.entry.at("kind") == "host.confirmed";
        json::object pause = pause_for_drained(state->spec(), plan(host), result.entry);
        co_await append(std::move(result.entry));
        if (!pause.empty() && !state->paused && !state->rolling_back) co_await append(std::move(pause));
        if (result.halted && !state->halted) {
          json::object entry{{"kind", "rollout.halted"}, {"why", result.why}};
          co_await append(std::move(entry));
        }
        auto bake = state->spec().stages[static_cast<std::size_t>(plan(host).stage)].bake;
        if (confirmed && (bake.count() == 0 || health_round_interval(bake) > Millis(10000))) ports.port(plan(host).name).hang_up();
      }
    } catch (const Error& e) {
      broken = e.what();
      if (e.exit() == Exit::held) lost_to_another(broken);
    } catch (const std::exception& e) {
      broken = std::string("internal: ") + e.what();
    }
    if (!broken.empty()) stop(broken, "policy");
    silent.answered(host);
    state->set_busy(host, false);
    --in_flight;
    wake.notify_all();
  }

  // --- what happens once ----------------------------------------------------------------------------------------------------------
  Task<> run_once(int index, bool check_only) {
    std::string broken;
    try {
      json::object entry = co_await ask_once(state->spec(), index, options.once);
      if (entry.at("kind") != "once.done" && !check_only) {
        co_await append(once_entry(state->spec(), index, "once.intent"));
        if (!lease.valid()) throw Error("the lease ran out before it was started", "", Exit::held);
        entry = co_await do_once(state->spec(), index, options.once);
      }
      co_await append(std::move(entry));
    } catch (const Error& e) {
      broken = e.what();
      if (e.exit() == Exit::held) lost_to_another(broken);
    }
    if (!broken.empty()) stop(broken, "policy");
    state->set_once_busy(index, false);
    --in_flight;
    wake.notify_all();
  }

  // --- a bake's health round ----------------------------------------------------------------------------------------------------
  Task<> check_host(int host) {
    StepResult look = co_await health_step(ports.port(plan(host).name), state->spec().unit_ref(), plan(host).name);
    if (look.controller_fault) stop(look.why, "policy");
    else state->note_health(host, look.entry.empty());
    const auto& h = state->hosts()[static_cast<std::size_t>(host)];
    if (!look.controller_fault && h.health_misses >= kHealthMisses) co_await append(std::move(look.entry));
    state->set_busy(host, false);
  }

  Task<> health_round(std::vector<int> hosts) {
    TaskGroup group(loop);
    for (int host : hosts) group.spawn(check_host(host));
    std::string broken;
    try {
      co_await group.join();
    } catch (const Error& e) {
      broken = e.what();
      if (e.exit() == Exit::held) lost_to_another(broken);
    }
    if (!broken.empty()) stop(broken, "policy");
    last_round = clock.wall();
    round_running = false;
    --in_flight;
    wake.notify_all();
  }

  // --- the loop -----------------------------------------------------------------------------------------------------------------
  // Starts what decide asked for; the records are awaited, so that the next decision sees them.
  Task<> perform(Decision d) {
    for (auto& action : d.actions) {
      if (auto host = host_of(action)) {
        state->set_busy(*host, true);
        ++in_flight;
        spawn(loop, run_host(std::move(action), *host));
      } else if (auto* once = std::get_if<RunOnce>(&action)) {
        state->set_once_busy(once->once, true);
        ++in_flight;
        spawn(loop, run_once(once->once, once->check_only));
      } else if (auto* round = std::get_if<CheckHealth>(&action)) {
        if (round_running) continue;
        round_running = true;
        ++in_flight;
        for (int h : round->hosts) state->set_busy(h, true);
        spawn(loop, health_round(std::move(round->hosts)));
      } else {
        auto& record = std::get<Record>(action);
        json::object body = std::move(record.body);
        body["kind"] = record.kind;
        bool long_bake = record.kind == "stage.baking" && state->spec().stages[static_cast<std::size_t>(get_int(body, "stage"))].bake > Millis(60000);
        co_await append(std::move(body));
        if (long_bake)
          for (std::size_t i = 0; i < state->hosts().size(); ++i)
            if (!state->hosts()[i].busy) ports.port(state->spec().hosts[i].name).hang_up();
      }
    }
  }

  // Whether to leave the terminal rather than wait, when nothing is in flight.
  bool leaves(Waiting waiting) const {
    switch (waiting) {
      case Waiting::bake:
      case Waiting::approval:
      case Waiting::window: return options.no_wait;
      case Waiting::halted: return true;  // it goes on by `resume` only
      case Waiting::paused: return options.no_wait || state->pause_by != "person";
      default: return false;
    }
  }

  Task<Exit> run() {
    while (true) {
      co_await sync();
      co_await note_halt();
      std::string broken;
      try {
        co_await lease.renew_if_due();
      } catch (const Error& e) {
        broken = e.what();
      }
      if (!broken.empty()) stop(broken, "policy");
      if (!lease.valid()) lost_to_another("the lease was lost: another process took over, or this one was stopped for too long");
      if (!fenced_why.empty()) {
        while (in_flight > 0) co_await wake.wait();
        lease.release();
        throw Error("fenced: " + fenced_why, "this process stopped; 'ripcord status' shows who goes on", Exit::held);
      }
      if (stopping && in_flight == 0) {
        if (state->ending == Ending::open) {
          json::object paused{{"kind", "rollout.paused"}, {"by", stop_by}, {"why", stop_why}};
          co_await append(std::move(paused));
        }
        break;
      }
      DecideInput in;
      in.now = clock.wall();
      in.last_health_round = last_round;
      in.stopping = stopping;
      in.silent = silent.at(clock.elapsed());
      Decision d = decide(*state, in);
      if (state->ending != Ending::open && in_flight == 0) break;
      bool acted = !d.actions.empty();
      auto waiting = d.waiting;
      auto until = clock.elapsed() + options.steering_poll;
      if (d.wake && *d.wake - in.now < options.steering_poll) until = clock.elapsed() + std::max(Millis(1), *d.wake - in.now);
      if (std::exchange(said, d.why) != d.why) observer.on_waiting(d);
      bool recorded = false;
      for (const auto& a : d.actions) recorded = recorded || std::holds_alternative<Record>(a);
      co_await perform(std::move(d));
      if (recorded) continue;
      if (!acted && in_flight == 0 && leaves(waiting)) break;
      co_await wake.wait_until(clock, until);
    }
    lease.release();
    co_return exit_for(*state);
  }

  Task<Exit> begin(std::int64_t epoch_at_least, json::object first) {
    const bool starts = !first.empty() && get_string(first, "kind").ends_with(".started");  // a rollout, a drill
    halt.begin();
    if (!starts && !state->rolling_back && !state->aborted) halt.refuse(read_all(ledger), state->spec().fleet);
    const auto& spec = state->spec();
    Lease wanted{spec.unit, options.holder, options.who, options.machine, spec.id, spec.why};
    lease.acquire(std::move(wanted), epoch_at_least, options.take_over);
    std::exception_ptr failure;
    auto exit = Exit::error;
    try {
      if (starts) co_await append_start(std::move(first));
      else if (!first.empty()) co_await append(std::move(first));
      json::object taken;
      if (!starts && lease.taken_from() && state->ending == Ending::open) taken = taken_over_entry(*lease.taken_from(), clock.wall(), options.take_over_how);
      if (!taken.empty()) co_await append(std::move(taken));
      exit = exit_for(*state);
      if (!options.only_begin) exit = co_await run();
    } catch (...) {
      failure = std::current_exception();
    }
    lease.release();
    if (failure) std::rethrow_exception(failure);
    co_return exit;
  }
};

Engine::Engine(Loop& loop, Clock& clock, Ledger& ledger, HostPorts& ports, PackSource& packs, const Fleet& fleet, ReleaseOnHand release,
               RolloutObserver& observer, EngineOptions options)
    : impl_(std::make_unique<Impl>(loop, clock, ledger, ports, packs, fleet, std::move(release), observer, std::move(options))) {}

Engine::~Engine() = default;

Task<Exit> Engine::start(RolloutSpec spec, std::int64_t epoch_at_least) {
  json::object first = started_entry(spec);
  impl_->synced = impl_->ledger.store().size() - 1;
  impl_->state.emplace(std::move(spec));
  co_return co_await impl_->begin(epoch_at_least, std::move(first));
}

Task<Exit> Engine::resume(RolloutState state, std::string why) {
  impl_->synced = state.last_seq;
  json::object first;
  if ((state.paused || state.halted) && !state.aborted && !state.rolling_back) first = {{"kind", "rollout.resumed"}, {"by", "person"}, {"why", why}};
  impl_->state.emplace(std::move(state));
  co_return co_await impl_->begin(0, std::move(first));
}

void Engine::stop(std::string why) { impl_->stop(std::move(why), "signal"); }

}  // namespace ripcord
