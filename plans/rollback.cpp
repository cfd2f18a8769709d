#include "plans/rollback.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "plans/history.hpp"
#include "plans/spool.hpp"

namespace ripcord {
namespace {

constexpr std::string_view kFencedBy = "rb-";  // how the holder of a rollback begins

std::string release_text(const std::optional<ReleaseId>& release) { return release ? release->folder() : "nothing"; }

// Newest forward rollout in any reachable journal: by epoch, which only grows, then by time.
std::string newest_forward(const std::vector<HostLook>& looks) {
  std::string rollout;
  std::pair<std::int64_t, std::int64_t> best{-1, -1};
  for (const auto& l : looks) {
    if (!l.look || !l.look->unit.last_forward) continue;
    const auto& op = *l.look->unit.last_forward;
    std::pair<std::int64_t, std::int64_t> age{op.epoch, op.at_ms};
    if (age > best) best = age, rollout = op.rollout;
  }
  return rollout;
}

json::object line_entry(const RollbackLine& line) {
  return {{"kind", "rollback.host"},  {"host", line.host},
          {"before", release_text(line.before)}, {"after", release_text(line.after)},
          {"result", std::string(to_text(line.result))}, {"detail", line.detail}};
}

struct Run {
  Loop& loop;
  Clock& clock;
  HostPorts& ports;
  const UnitRef unit;
  const RollbackOptions options;
  std::function<void(const RollbackLine&)> on_host;
  EntrySink& sink;
  std::string op;
  std::int64_t epoch = 0;
  std::string ledger_id;
  Slots slots;

  Task<> one(RollbackLine& line) {
    auto slot = co_await slots.acquire();
    bool moves = line.result == RollbackLine::Result::returned;
    try {
      if (moves) co_await go(line);
      else if (line.result == RollbackLine::Result::unchanged) co_await ports.port(line.host).fence(unit, epoch, options.holder, ledger_id);
    } catch (const LinkError& e) {
      line.result = RollbackLine::Result::unreachable;
      line.detail = e.message();
      line.after.reset();
    } catch (const HostRefusal& e) {
      line.result = e.code() == "conflict" ? RollbackLine::Result::conflict : RollbackLine::Result::failed;
      line.detail = e.message();
    } catch (const Error& e) {
      line.result = RollbackLine::Result::failed;
      line.detail = e.what();
    }
    if (moves || line.result != RollbackLine::Result::unchanged) co_await sink.append(line_entry(line));
    if (on_host) on_host(line);
  }

  Task<> go(RollbackLine& line) {
    ActivateRequest request;
    request.unit = unit;
    request.op = op + "-" + sha256(line.host).short_hex().substr(0, 8);
    request.rollout = op;
    request.forward = false;
    request.from = line.before;
    request.to = line.target;
    request.epoch = epoch;
    request.holder = options.holder;
    request.ledger_id = ledger_id;
    request.who = options.who;
    request.why = options.why;
    Millis within = options.within.count() > 0 ? options.within : Millis(900000);
    std::function<void(std::string)> nobody;
    ActivateReply reply = co_await ports.port(line.host).activate(std::move(request), within, std::move(nobody));
    bool there = reply.state.phase == OpPhase::confirmed;
    line.after = there || reply.switched ? line.target : line.before;
    if (!there) {
      line.result = RollbackLine::Result::failed;
      line.detail = fmt::format("{} failed{}", reply.failed_step.empty() ? "going back" : reply.failed_step,
                                reply.state.detail.empty() ? "" : ": " + reply.state.detail);
    }
  }
};

Exit exit_of(const std::vector<RollbackLine>& lines) {
  Exit exit = Exit::done;
  for (const auto& line : lines) {
    if (line.result == RollbackLine::Result::unreachable) exit = worst(exit, Exit::unreachable);
    if (line.result == RollbackLine::Result::conflict || line.result == RollbackLine::Result::failed || line.result == RollbackLine::Result::missing)
      exit = worst(exit, Exit::mixed);
  }
  return exit;
}

}  // namespace

std::string_view to_text(RollbackLine::Result result) {
  switch (result) {
    case RollbackLine::Result::unchanged: return "unchanged";
    case RollbackLine::Result::returned: return "returned";
    case RollbackLine::Result::unreachable: return "unreachable";
    case RollbackLine::Result::conflict: return "conflict";
    case RollbackLine::Result::failed: return "failed";
    case RollbackLine::Result::missing: return "missing";
  }
  return "failed";
}

RollbackPlan plan_rollback(const std::vector<HostLook>& looks, const std::optional<std::string>& to_version) {
  RollbackPlan plan;
  if (!to_version) plan.undoes = newest_forward(looks);
  for (const auto& l : looks) {
    RollbackLine line;
    line.host = l.host->name;
    if (!l.look) {
      line.result = RollbackLine::Result::unreachable;
      line.detail = l.fault;
      plan.lines.push_back(std::move(line));
      continue;
    }
    const auto& o = l.look->unit;
    line.before = line.after = line.target = o.running;
    if (to_version) {
      if (!o.running || o.running->version != *to_version) {
        auto found = std::find_if(o.releases.rbegin(), o.releases.rend(), [&](const ReleaseId& r) { return r.version == *to_version; });
        if (found == o.releases.rend()) {
          line.result = RollbackLine::Result::missing;
          line.target.reset();
          line.detail = fmt::format("it does not hold version {}", *to_version);
        } else {
          line.target = *found;
          line.result = RollbackLine::Result::returned;
        }
      }
    } else if (o.last_forward && o.last_forward->rollout == plan.undoes && !plan.undoes.empty() && o.running && o.last_forward->to == o.running) {
      line.target = o.last_forward->from;
      if (line.target != line.before) line.result = RollbackLine::Result::returned;
    }
    plan.lines.push_back(std::move(line));
  }
  return plan;
}

Task<RollbackResult> run_rollback(Loop& loop, Clock& clock, Ledger* ledger, std::string spool_folder, HostPorts& ports,
                                  const Fleet& fleet, std::vector<const Host*> hosts, UnitRef unit, RollbackOptions options,
                                  std::function<void(const RollbackLine&)> on_host) {
  if (options.limit) std::erase_if(hosts, [&](const Host* h) { return !options.limit->matches(h->labels); });
  if (options.holder.empty()) options.holder = std::string(kFencedBy) + random_hex(8);
  auto looks = co_await look_at(loop, ports, hosts, unit, Verify::quick, false, static_cast<std::size_t>(options.max_parallel));
  auto plan = plan_rollback(looks, options.to_version);

  RollbackResult result;
  result.op = "rb-" + random_hex(8);
  result.undone_rollout = plan.undoes;
  result.lines = std::move(plan.lines);
  std::vector<std::string> missing;
  for (const auto& line : result.lines)
    if (line.result == RollbackLine::Result::missing) missing.push_back(line.host);
  if (!missing.empty() && !options.skip_missing)
    throw Error(fmt::format("{} of {} hosts do not hold {}@{}: {}", missing.size(), result.lines.size(), unit.unit, *options.to_version, join(missing, ", ")),
                "nothing was touched; roll it out with 'ripcord apply', or go on without them with --skip-missing", Exit::refused);
  if (options.dry_run) co_return result;

  std::int64_t epoch = 0;
  std::string ledger_id = ledger ? ledger->id() : "";
  for (const auto& l : looks)
    if (l.look) epoch = std::max(epoch, l.look->unit.epoch);

  EntrySink sink(clock, ledger, std::move(spool_folder), options.who);
  json::array names;
  std::size_t moving = 0;
  for (const auto& line : result.lines)
    if (line.result == RollbackLine::Result::returned) names.push_back(json::value(line.host)), ++moving;
  json::object started{{"kind", "rollback.started"}, {"fleet", fleet.name}, {"undoes", result.undone_rollout}, {"hosts", std::move(names)}, {"why", options.why}};
  if (options.to_version) started["version"] = *options.to_version;
  sink.describe(unit.unit, result.op);
  // A host that a rollback fenced last has nothing to be fenced against: a second call changes nothing.
  bool anything = moving > 0 || std::any_of(looks.begin(), looks.end(), [](const HostLook& l) { return l.look && !l.look->unit.holder.starts_with(kFencedBy); });
  if (anything) co_await sink.append(std::move(started));

  Run run{loop, clock, ports, unit, options, std::move(on_host), sink, result.op, epoch + 1, ledger_id, Slots(static_cast<std::size_t>(std::max(1, options.max_parallel)))};
  if (anything) {
    TaskGroup group(loop);
    for (auto& line : result.lines)
      if (line.result != RollbackLine::Result::missing) group.spawn(run.one(line));
    co_await group.join();
  } else if (run.on_host) {
    for (const auto& line : result.lines) run.on_host(line);
  }
  result.exit = exit_of(result.lines);
  if (anything) {
    json::object ended{{"kind", "rollback.ended"}, {"exit", static_cast<int>(result.exit)}};
    co_await sink.append(std::move(ended));
    // The rollout that was undone, or is open, is over: whoever runs it reads this and stops.
    std::string closes = result.undone_rollout;
    if (ledger && closes.empty())
      if (auto open = open_rollout(ledger->read(0), unit.unit)) closes = open->spec().id;
    if (!closes.empty()) {
      json::object closed{{"kind", "rollout.ended"},
                          {"rollout", closes},
                          {"outcome", result.exit == Exit::done ? "rolled_back" : "needs_person"},
                          {"exit", static_cast<int>(result.exit == Exit::done ? Exit::failed : result.exit)},
                          {"why", "the rip cord was pulled" + (options.why.empty() ? "" : ": " + options.why)}};
      co_await sink.append(std::move(closed));
    }
  }
  result.ledger_written = sink.in_ledger();
  co_return result;
}

}  // namespace ripcord
