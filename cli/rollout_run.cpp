#include "cli/rollout_run.hpp"

#include <fmt/format.h>

#include <set>

#include "cli/detach.hpp"
#include "cli/holder.hpp"
#include "cli/interrupts.hpp"
#include "cli/ledger_check.hpp"
#include "plans/hosts/host_objects.hpp"
#include "plans/hosts/supply.hpp"
#include "plans/ledger/halt.hpp"
#include "plans/ledger/history.hpp"

namespace ripcord::cli {
namespace {

bool holds_release(const ReleaseStore& store, const Digest& manifest) {
  try {
    (void)store.sealed(manifest);
    return true;
  } catch (const Error& e) {
    if (e.exit() == Exit::integrity) throw;
    return false;
  }
}

Exit run(Context& c, const ReleaseOnHand& release, const std::string& id, const std::string& unit, RunOptions wanted, View& view,
         PackSource& packs, const std::function<Task<Exit>(Engine&)>& go) {
  EngineOptions options;
  options.no_wait = wanted.no_wait;
  const bool gone = runner_of(c, unit).gone;
  options.take_over = wanted.take_over || gone;
  if (gone) options.take_over_how = "its process has ended";
  options.only_begin = wanted.detach;
  options.seen = wanted.seen;
  options.holder = holder_of_this_process();
  options.who = c.who();
  options.machine = c.machine();
  options.halt_file = halt_file(c.fleet());
  auto once = make_once_runner(c.clock(), c.fleet().folder);
  options.once = once.get();
  Supplier supplier(c.ports(), c.more_ports(), c.store_for_writing(), {unit, release.manifest.spec.root});
  options.mend = [&](std::string host, ReleaseId back) { return supplier.restore(std::move(host), std::move(back), c.fleet()); };
  Engine engine(c.loop(), c.clock(), c.ledger(), c.ports(), packs, c.fleet(), release, view, options);
  int signal = 0;
  Exit exit = Exit::done;
  {
    Interrupts interrupts(c.loop(), c.clock(), [&](int number) {
      c.out().note(fmt::format("{}: pausing when what runs has ended; once more ends ripcord at once", signal_name(number)));
      engine.stop(signal_name(number));
    });
    exit = c.wait(go(engine));
    signal = interrupts.caught();
  }
  if (wanted.detach && signal == 0) return detach_rollout(c, unit, id, false);
  auto state = fold_rollout(c.entries(), id);
  if (!state)
    throw Error(fmt::format("rollout {} is not in the ledger any more", id), "look at the ledger file before going on", Exit::integrity);
  if (signal != 0 && state->ending == Ending::open) exit = static_cast<Exit>(128 + signal);
  view.finish(*state, runner_of(c, unit), exit, c.now());
  return exit;
}

}  // namespace

Exit start_rollout(Context& c, const ReleaseOnHand& release, RolloutSpec spec, std::int64_t epoch_at_least, RunOptions options, PackSource* packs) {
  auto view = make_view(c.out(), c.clock());
  const std::string id = spec.id, unit = spec.unit;
  auto from_store = store_packs(c.store());
  return run(c, release, id, unit, options, *view, packs ? *packs : *from_store, [&](Engine& engine) { return engine.start(std::move(spec), epoch_at_least); });
}

Exit resume_rollout(Context& c, RolloutState state, std::string why, RunOptions options) {
  if (options.detach) return detach_rollout(c, state.spec().unit, state.spec().id, options.take_over);
  auto view = make_view(c.out(), c.clock());
  const std::string id = state.spec().id, unit = state.spec().unit;
  // This machine need not be the one that sealed it: what the store lacks, hosts have.
  auto& store = c.store_for_writing();
  HostObjects objects(store, c.more_ports(), state.spec().unit_ref(), holders_of(state));
  if (!holds_release(store, state.spec().manifest)) {
    c.out().note(fmt::format("{}@{} is not sealed here: it is brought from the hosts that hold it", unit, state.spec().version));
    c.wait(objects.bring_manifest(state.spec().manifest));
  }
  auto release = load_release(store, state.spec().manifest);
  auto packs = store_or_host_packs(store, objects);
  require_no_lost_commits(c, state);
  view->show(state);
  return run(c, release, id, unit, options, *view, *packs, [&](Engine& engine) { return engine.resume(std::move(state), std::move(why)); });
}

Runner runner_of(Context& c, const std::string& unit) {
  Runner runner{c.ledger().store().lease(unit)};
  runner.gone = runner.lease && holder_is_gone(runner.lease->holder);
  return runner;
}

RolloutState require_open_rollout(Context& c, const std::string& unit) {
  auto entries = c.entries();
  if (auto open = open_rollout(entries, unit)) return std::move(*open);
  std::set<std::string> units;
  for (const auto& id : rollouts(entries, ""))
    if (auto s = fold_rollout(entries, id)) units.insert(s->spec().unit);
  if (!units.contains(unit)) {
    auto near = did_you_mean(unit, {units.begin(), units.end()});
    throw Error(fmt::format("unit '{}' has no rollout in this ledger{}", unit, near ? fmt::format(", did you mean '{}'?", *near) : ""),
                units.empty() ? "" : "units with rollouts: " + join({units.begin(), units.end()}, ", "), Exit::refused);
  }
  auto last = newest_rollout(entries, unit);
  bool owed = last && last->ending == Ending::completed && !owed_hosts(*last).empty();
  throw Error(fmt::format("no rollout of '{}' is open; the last one: {}", unit, last ? verdict(*last, c.now()).text : "none"),
              owed ? fmt::format("`{}` brings the hosts that are owed", c.command("converge --unit " + unit + " -m WHY")) : "", Exit::refused);
}

}  // namespace ripcord::cli
