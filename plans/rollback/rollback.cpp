#include "plans/rollback/rollback.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>

#include "plans/files/host_label.hpp"
#include "plans/ledger/spool.hpp"
#include "plans/rollback/rollback_entries.hpp"
#include "plans/rollback/rollback_steps.hpp"

namespace ripcord {
namespace {

using Result = RollbackLine::Result;

constexpr std::string_view kFencedBy = "rb-";  // how the holder of a rollback begins
constexpr Millis kQuiet{500};                  // nobody new answered for so long: who is silent now is not just slow
constexpr Millis kAtLeast{1000};
constexpr Millis kBegin{400};                  // who can go by then goes: the first host is to have switched within a second
// A rollout may be ahead of what any host has seen of it: it was begun, resumed or taken over so many times and has touched nobody yet.
// There may be no ledger to ask, and what the cord fences must stay fenced against it.
constexpr std::int64_t kAhead = 1'000'000;

class Cord {
 public:
  Cord(RollbackPlace place, UnitRef unit, RollbackOptions options, std::function<void(const RollbackLine&)> on_host)
      : at_(std::move(place)), unit_(std::move(unit)), options_(std::move(options)), on_host_(std::move(on_host)),
        sink_(at_.loop, at_.clock, at_.ledger, at_.spool_folder, options_.who, options_.ledger_patience), supplier_(at_.ports, at_.side, at_.store, unit_),
        steps_(at_.clock, at_.ports, supplier_), acting_(static_cast<std::size_t>(std::max(1, options_.max_parallel))) {
    if (options_.holder.empty()) options_.holder = std::string(kFencedBy) + random_hex(8);
    order_ = {unit_, "rb-" + random_hex(8), options_.holder, "", options_.who, options_.why, "", options_.to_version, 0, options_.within};
    sink_.describe(unit_.unit, order_.op);
  }

  Task<RollbackResult> run(std::vector<const Host*> hosts) {
    const Elapsed begun = at_.clock.elapsed();
    runs_.resize(hosts.size());
    TaskGroup group(at_.loop);
    for (std::size_t i = 0; i < hosts.size(); ++i) {
      runs_[i].look.host = hosts[i];
      group.spawn(one(runs_[i]));
    }
    std::exception_ptr failed;
    try {
      co_await settle(begun);
      co_await decide();
    } catch (...) {
      failed = std::current_exception();
      nothing_ = true;  // whoever still waits for the decision goes home
    }
    decided_ = true;
    decision_.notify_all();
    co_await group.join();
    if (failed) std::rethrow_exception(failed);
    co_await finish();
    co_return std::move(result_);
  }

 private:
  // --- looking ---------------------------------------------------------------------------------------------------------------
  // All have answered or failed; or those that have not are not worth waiting for. Without the ledger's word that the rollout the
  // hosts name is the newest, a slow host might be the only one that knows a newer one: then it is waited for longer.
  Task<> settle(Elapsed begun) {
    const Elapsed last = begun + options_.patience;
    while (answers_ < runs_.size()) {
      Elapsed now = at_.clock.elapsed();
      Elapsed quiet = std::min(last, std::max(begun + kAtLeast, newest_answer_ + kQuiet));
      if (now >= last || (now >= quiet && answers_ > 0 && knows_newest())) break;
      if (now >= begun + kBegin && can_begin()) break;
      auto look_again = now < begun + kBegin ? begun + kBegin : now < quiet ? quiet : now + Millis(100);
      co_await answered_.wait_until(at_.clock, std::min(last, look_again));
    }
    co_await at_.ledger.within(begun + options_.ledger_patience);
  }

  bool knows_newest() {
    if (options_.to_version) return true;
    return at_.ledger.now() && !at_.ledger.newest_rollout().empty() && newest_forward_rollout(looks()) == at_.ledger.newest_rollout();
  }

  // Of a large fleet some hosts have long answered while others still shake hands. When the ledger says which rollout is the newest,
  // somebody is to move, and nobody seen so far lacks what it goes to, nobody needs to wait for the others: they are late ones.
  bool can_begin() {
    if (options_.dry_run || !knows_newest()) return false;
    const auto seen = looks();
    const auto undoes = options_.to_version ? "" : newest_forward_rollout(seen);
    bool moves = false;
    for (const auto& l : seen) {
      if (!selected(*l.host)) continue;
      auto line = plan_line(l, undoes, options_.to_version);
      if (line.result == Result::missing || !line.lacks.empty()) return false;
      moves = moves || line.result == Result::returned;
    }
    return moves;
  }

  std::vector<HostLook> looks() const {
    std::vector<HostLook> out;
    for (const auto& h : runs_)
      if (h.answered) out.push_back(h.look);
    return out;
  }

  // --- deciding --------------------------------------------------------------------------------------------------------------
  bool selected(const Host& host) const {
    return (!options_.limit || options_.limit->matches(host.labels)) && (!options_.only || options_.only->contains(host.name));
  }

  RollbackLine plan_for(const HostRun& h) const {
    auto line = plan_line(h.look, result_.undone_rollout, options_.to_version);
    line.selected = selected(*h.look.host);
    if (!line.selected && line.result == Result::returned) {
      line.result = Result::unchanged;
      line.target = line.before;
      line.lacks.clear(), line.detail.clear();
    }
    return line;
  }

  Task<> decide() {
    const auto seen = looks();
    if (!options_.to_version) result_.undone_rollout = newest_forward_rollout(seen);
    for (const auto& l : seen)
      if (l.look && l.look->unit.epoch <= kMaxEpoch) newest_seen_ = std::max(newest_seen_, l.look->unit.epoch);
    order_.epoch = newest_seen_ + kAhead;
    order_.undoes = result_.undone_rollout;
    if (options_.to_version) version_manifest_ = manifest_of_version(seen, *options_.to_version);
    if (options_.to_version && !version_manifest_) version_manifest_ = at_.store.find(unit_.unit, *options_.to_version);
    for (auto& h : runs_) {
      h.late = !h.answered;
      if (h.late) {
        h.line.host = h.look.host->name;
        h.line.result = Result::unreachable;
        h.line.selected = selected(*h.look.host);
        continue;
      }
      h.line = plan_for(h);
      set_aside_stranger(h);
      note_holdings(h);
    }
    refuse_if_ours(seen);
    refuse_if_unknown();
    co_await find_supplies();
    result_.op = order_.op;
    if (auto* ledger = at_.ledger.now()) order_.ledger_id = ledger->id();
    nothing_ = options_.dry_run || nothing_to_do();
    result_.nothing_done = nothing_ && !options_.dry_run;
    if (!nothing_) co_await sink_.append(rollback_started(at_.fleet, options_, order_, result_, runs_));
  }

  // Where the unit's hosts are not known, every host is asked; those that never heard of it are none of its business.
  void set_aside_stranger(HostRun& h) const {
    if (!options_.hosts_guessed || !h.look.look) return;
    const auto& o = h.look.look->unit;
    h.stranger = o.journal_seq == 0 && o.current == Observation::Current::none && o.releases.empty();
    if (h.stranger) h.line.result = Result::unchanged, h.line.lacks.clear();
  }

  void refuse_if_unknown() const {
    if (runs_.empty() || !std::all_of(runs_.begin(), runs_.end(), [](const HostRun& h) { return h.stranger; })) return;
    throw Error(fmt::format("no host knows a unit '{}' in '{}'", unit_.unit, unit_.root), "name where it lives with --root; nothing was touched", Exit::refused);
  }

  // A key that cannot be read, an agent that is gone: no host is at fault, and nothing can be done from here.
  static void refuse_if_ours(const std::vector<HostLook>& seen) {
    bool ours = !seen.empty() && std::all_of(seen.begin(), seen.end(), [](const HostLook& l) { return !l.look && l.fault_kind == LinkFault::ours; });
    if (ours) throw Error(seen[0].fault, seen[0].hint.empty() ? "nothing was touched" : seen[0].hint + "; nothing was touched");
  }

  void note_holdings(const HostRun& h) {
    if (!h.look.look) return;
    for (const auto& r : h.look.look->unit.releases) supplier_.note_holder(h.look.host->name, r.manifest);
  }

  // A target that a host lacks, and that nobody can give, is said before anything is touched.
  Task<> find_supplies() {
    TaskGroup group(at_.loop);
    for (auto& h : runs_)
      if (h.line.result == Result::returned && !h.line.lacks.empty()) group.spawn(find_supply(h));
    co_await group.join();
    std::vector<std::string> missing;
    std::string why;
    for (const auto& h : runs_)
      if (h.line.result == Result::missing) missing.push_back(h.line.host), why = h.line.detail;
    if (missing.empty() || options_.skip_missing || options_.dry_run) co_return;
    auto what = options_.to_version ? unit_.unit + "@" + *options_.to_version : "the release of " + unit_.unit + " to go back to";
    throw Error(fmt::format("{} of {} hosts do not hold {}, and it cannot be brought to them: {}", missing.size(), runs_.size(), what,
                            join(missing, ", ")),
                fmt::format("nothing was touched. {}: {}. Go on without them with --skip-missing", missing.back(), why), Exit::refused);
  }

  Task<> find_supply(HostRun& h) {
    h.manifest = h.line.target ? std::optional(h.line.target->manifest) : version_manifest_;
    auto cannot = [&](std::string why) {
      h.line.result = Result::missing;
      h.line.detail = std::move(why);
    };
    if (!h.manifest) co_return cannot("no host that answers holds it, and the store here does not either");
    try {
      Supply found = co_await supplier_.find(h.line.host, h.line.target, *h.manifest, h.look.host->labels);
      if (!found.possible && !found.complete) cannot(found.why_not);
      else if (!h.line.target && !found.release->tree.is_zero()) h.line.target = found.release;
    } catch (const LinkError& e) {
      h.line.result = Result::unreachable;
      h.line.detail = e.message();
    }
  }

  // A host that a rollback fenced last has nothing to be fenced against, unless somebody rolls out: the ledger would know.
  bool nothing_to_do() {
    auto* ledger = at_.ledger.now();
    if (!ledger || !at_.ledger.open_rollout().empty()) return false;
    return std::all_of(runs_.begin(), runs_.end(), [&](const HostRun& h) {
      if (h.stranger) return true;
      if (h.late || h.line.result == Result::returned) return false;
      return !h.look.look || (h.look.look->unit.holder.starts_with(kFencedBy) && h.look.look->unit.ledger_id == ledger->id());
    });
  }

  // --- acting ----------------------------------------------------------------------------------------------------------------
  Task<> one(HostRun& h) {
    co_await steps_.look(h, order_, Verify::quick);
    h.answered = true;
    ++answers_;
    newest_answer_ = at_.clock.elapsed();
    answered_.notify_all();
    while (!decided_) co_await decision_.wait();
    if (nothing_) {
      if (result_.nothing_done && on_host_) on_host_(h.line);
      co_return;
    }
    if (h.late) co_await join_late(h);
    if (h.stranger) co_return;
    const bool was_to_move = h.line.result == Result::returned;
    if (h.line.result != Result::unreachable && h.look.look && h.look.look->unit.epoch <= kMaxEpoch) {
      // Fencing takes nobody out of service. A host that waits for its domain must not hold a slot that others could use.
      std::optional<Slots::Held> turn;
      if (was_to_move && options_.max_unavailable > 0) {
        auto held = co_await domain_of(*h.look.host).acquire();
        turn.emplace(std::move(held));
      }
      auto slot = co_await acting_.acquire();
      co_await steps_.act(h, order_);
    }
    if (was_to_move || h.line.result != Result::unchanged) co_await sink_.append(rollback_host(h));
    if (on_host_) on_host_(h.line);
  }

  Slots& domain_of(const Host& host) {
    auto& slots = domains_[label_of(host, options_.domain_label)];
    if (!slots) slots = std::make_unique<Slots>(static_cast<std::size_t>(options_.max_unavailable));
    return *slots;
  }

  // It answered after the decision: the same rules, and what it is about to do is durable first as well.
  Task<> join_late(HostRun& h) {
    h.line = plan_for(h);
    set_aside_stranger(h);
    const auto& seen = h.look.look;
    const auto* forward = seen && seen->unit.last_forward ? &*seen->unit.last_forward : nullptr;
    bool newer = !options_.to_version && forward && forward->epoch < kMaxEpoch && forward->epoch > newest_seen_ && h.line.before == forward->to;
    if (newer) {
      h.line.result = Result::conflict;
      h.line.detail = fmt::format("it answered late, and knows a newer rollout, {}: pull the cord again to undo that one", forward->rollout);
    }
    if (h.line.result != Result::returned) co_return;
    if (!h.line.lacks.empty()) co_await find_supply(h);
    if (h.line.result != Result::returned) co_return;
    co_await sink_.append(rollback_intent(h));
  }

  // --- the end ---------------------------------------------------------------------------------------------------------------
  Task<> finish() {
    for (const auto& h : runs_) {
      if (h.stranger) continue;
      result_.lines.push_back(h.line);
      if (h.line.result == Result::unreachable && h.line.selected) result_.owed.push_back(h.line.host);
    }
    if (options_.dry_run) co_return;
    result_.exit = rollback_exit(result_.lines);
    if (!nothing_) {
      co_await sink_.append(rollback_ended(result_));
      // The rollout that was undone, or is open, is over: whoever runs it reads this and stops.
      std::vector<std::string> closes{result_.undone_rollout.empty() ? at_.ledger.open_rollout() : result_.undone_rollout};
      if (at_.ledger.open_is_aside() && at_.ledger.open_rollout() != closes[0]) closes.push_back(at_.ledger.open_rollout());
      for (const auto& id : closes) {
        if (id.empty()) continue;
        co_await sink_.append(rollout_closed(id, result_, options_));
      }
    }
    result_.ledger_written = at_.ledger.now() && sink_.in_ledger();
  }

  RollbackPlace at_;
  const UnitRef unit_;
  RollbackOptions options_;
  std::function<void(const RollbackLine&)> on_host_;
  EntrySink sink_;
  Supplier supplier_;
  RollbackSteps steps_;
  Slots acting_;
  std::map<std::string, std::unique_ptr<Slots>> domains_;
  RollbackOrder order_;
  std::optional<Digest> version_manifest_;
  std::vector<HostRun> runs_;
  std::size_t answers_ = 0;
  Elapsed newest_answer_{};
  Signal answered_, decision_;
  std::int64_t newest_seen_ = 0;  // epoch of those that answered in time
  bool decided_ = false, nothing_ = false;
  RollbackResult result_;
};

}  // namespace

Task<RollbackResult> run_rollback(RollbackPlace place, std::vector<const Host*> hosts, UnitRef unit, RollbackOptions options,
                                  std::function<void(const RollbackLine&)> on_host) {
  Cord cord(std::move(place), std::move(unit), std::move(options), std::move(on_host));
  co_return co_await cord.run(std::move(hosts));
}

}  // namespace ripcord
