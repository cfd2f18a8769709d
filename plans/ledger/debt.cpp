#include "plans/ledger/debt.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/error.hpp"

namespace ripcord {
namespace {

using DebtKind = Debt::Kind;
using Standing = Intent::Standing;

std::string with(const std::string& text, const std::string& reason) { return reason.empty() ? text : text + ": " + reason; }

// Of one unit.
class Accounts {
 public:
  Accounts(const std::string& unit, const UnitStanding& standing, const std::map<std::string, Intent>& intents, const Roster& roster)
      : unit_(unit), standing_(standing), intents_(intents), roster_(roster) {
    const auto* now = standing.now();
    if (now && !now->carried_by.empty()) try {
        carried_by_.emplace(Selector::parse(now->carried_by));
      } catch (const Error&) {  // a selector of a newer ripcord: only hosts that had the unit are known to carry it
      }
  }

  std::optional<Debt> of(const Host& host) const {
    auto known = intents_.find(host.name);
    const Intent* intent = known == intents_.end() ? nullptr : &known->second;
    if (intent) {
      if (auto missed = missed_by(host.name, *intent)) return missed;
      if (intent->standing == Standing::moving) return std::nullopt;
      if (auto partial = left_out(host.name, intent)) return partial;
      if (decided_otherwise(host.name, *intent)) return std::nullopt;
    } else if (auto partial = left_out(host.name, nullptr)) {
      return partial;
    }
    return unlike_the_others(host, intent);
  }

  // Not in the fleet file: only what was missed is owed, so that a line taken out of it does not pay a debt.
  std::optional<Debt> of_gone(const std::string& host, const Intent& intent) const {
    auto debt = missed_by(host, intent);
    if (debt) debt->kind = DebtKind::gone, debt->why += "; it is not in the fleet file any more";
    return debt;
  }

 private:
  Debt debt(DebtKind kind, const std::string& host, std::string why, std::string rollout) const {
    Debt d{kind, unit_, host, "", {}, std::move(why), std::move(rollout)};
    if (const auto* now = standing_.now()) d.version = now->version, d.manifest = now->manifest;
    return d;
  }

  std::optional<Debt> missed_by(const std::string& host, const Intent& intent) const {
    if (intent.standing != Standing::away && intent.standing != Standing::failed) return std::nullopt;
    bool away = intent.standing == Standing::away;
    auto d = debt(away ? DebtKind::away : DebtKind::failed, host, with(away ? "it missed " + intent.rollout : intent.rollout + " failed on it", intent.reason), intent.rollout);
    // A release that never became everybody's: what was intended with this host.
    if (!standing_.now()) d.version = intent.version(), d.manifest = intent.manifest;
    return d;
  }

  // The newest limited rollout went to others.
  std::optional<Debt> left_out(const std::string& host, const Intent* intent) const {
    if (standing_.partial.empty()) return std::nullopt;
    const auto& partial = standing_.partial.back();
    if (!partial.left_out.contains(host) || moved_after(host, partial.seq)) return std::nullopt;
    if (intent && runs(*intent, partial.manifest, partial.version)) return std::nullopt;
    auto d = debt(DebtKind::left_out, host, partial.rollout + " left it out", partial.rollout);
    d.version = partial.version, d.manifest = partial.manifest;
    return d;
  }

  bool moved_after(const std::string& host, std::int64_t seq) const {
    auto moved = standing_.moved.find(host);
    return moved != standing_.moved.end() && moved->second > seq;
  }

  static bool runs(const Intent& intent, const Digest& manifest, const std::string& version) {
    return intent.manifest.is_zero() ? intent.version() == version : intent.manifest == manifest;
  }

  // Somebody brought just this host elsewhere: by a limit, by the cord, or right now.
  bool decided_otherwise(const std::string& host, const Intent& intent) const {
    if (const auto* now = standing_.now(); now && moved_after(host, now->seq)) return true;
    if (standing_.open.contains(intent.manifest)) return true;
    return std::any_of(standing_.partial.begin(), standing_.partial.end(), [&](const Partial& p) { return runs(intent, p.manifest, p.version); });
  }

  std::optional<Debt> unlike_the_others(const Host& host, const Intent* intent) const {
    const auto* now = standing_.now();
    if (!now || (intent && runs(*intent, now->manifest, now->version))) return std::nullopt;
    if (carried_by_ && !carried_by_->matches(host.labels)) return std::nullopt;
    if (intent && !intent->folder.empty())
      return debt(DebtKind::behind, host.name, fmt::format("it had no part in {} and was last known to run {}", now->rollout.empty() ? "what came since" : now->rollout, intent->version()), now->rollout);
    for (const auto& old : roster_.stands_in_for(host.name))
      if (intents_.contains(old)) return debt(DebtKind::replaces, host.name, fmt::format("it replaces {}, which had it", old), now->rollout);
    if (!carried_by_ && !intent) return std::nullopt;
    return debt(DebtKind::joined, host.name, "it matches the unit's hosts and never had it", now->rollout);
  }

  const std::string& unit_;
  const UnitStanding& standing_;
  const std::map<std::string, Intent>& intents_;
  const Roster& roster_;
  std::optional<Selector> carried_by_;
};

}  // namespace

std::string_view to_text(DebtKind kind) {
  switch (kind) {
    case DebtKind::away: return "away";
    case DebtKind::failed: return "failed";
    case DebtKind::behind: return "behind";
    case DebtKind::joined: return "joined";
    case DebtKind::replaces: return "replaces";
    case DebtKind::left_out: return "left_out";
    case DebtKind::gone: return "gone";
  }
  return "away";
}

std::string Debt::text() const { return fmt::format("{}{}: {}", unit, version.empty() ? "" : "@" + version, why); }

std::vector<Debt> DebtBook::of_unit(const std::string& unit) const {
  std::vector<Debt> out;
  std::copy_if(owed.begin(), owed.end(), std::back_inserter(out), [&](const Debt& d) { return d.unit == unit; });
  return out;
}

std::vector<Debt> DebtBook::of_host(const std::string& host) const {
  std::vector<Debt> out;
  std::copy_if(owed.begin(), owed.end(), std::back_inserter(out), [&](const Debt& d) { return d.host == host; });
  return out;
}

std::vector<Digest> DebtBook::needed(const std::string& unit) const {
  std::set<Digest> out;
  auto standing = units.find(unit);
  auto need = [&](const Debt& d) {
    if (d.unit != unit) return;
    out.insert(d.manifest);
    if (standing != units.end() && standing->second.now()) out.insert(standing->second.now()->manifest);
    if (standing != units.end() && standing->second.before()) out.insert(standing->second.before()->manifest);
    if (auto by_host = intents.find(unit); by_host != intents.end())
      if (auto intent = by_host->second.find(d.host); intent != by_host->second.end()) out.insert(intent->second.manifest);
  };
  for (const auto& d : owed) need(d);
  for (const auto& d : excused) need(d);
  out.erase(Digest{});
  return {out.begin(), out.end()};
}

std::string installed_again(const Intent& intent, const Look& look) {
  if (intent.folder.empty() || intent.standing != Standing::settled) return "";
  const bool other = !intent.host_id.empty() && look.hello.host_id != intent.host_id;
  if (look.unit.last_op || (!other && look.unit.current == Observation::Current::release)) return "";
  return fmt::format("it was installed again since it took {}: {}its journal knows of nothing", intent.version(), other ? "it has another host id, and " : "");
}

void settle_accounts(RolloutState& state, const DebtBook& book) {
  const auto code = static_cast<Exit>(state.exit_code);
  if (state.ending != Ending::completed || (code != Exit::done && code != Exit::unreachable && code != Exit::integrity)) return;
  state.owed.clear();
  Exit now = Exit::done;
  for (const auto& d : book.of_unit(state.spec().unit)) {
    state.owed.push_back(d.host);
    now = worst(now, state.distrusted.contains(state.index(d.host)) ? Exit::integrity : Exit::unreachable);
  }
  state.exit_code = static_cast<int>(now);
}

DebtBook fold_debts(const std::vector<LedgerEntry>& entries, const Fleet& fleet, WallTime now) {
  DebtBook book;
  auto all = fold_quarantines(entries, fleet.name);
  book.quarantines = in_force(all, now);
  for (const auto& [host, quarantine] : all)
    if (!book.quarantines.contains(host)) book.over.emplace(host, quarantine);
  book.roster = fold_roster(entries, fleet.name);
  book.units = fold_standing(entries);
  book.intents = fold_intents(entries);
  std::set<std::string> in_file;
  for (const auto& h : fleet.hosts) in_file.insert(h.name);
  for (const auto& [unit, standing] : book.units) {
    const auto& intents = book.intents[unit];
    Accounts accounts(unit, standing, intents, book.roster);
    auto take = [&](std::optional<Debt> debt) {
      if (!debt || !book.roster.expects(debt->host)) return;
      (book.quarantines.contains(debt->host) ? book.excused : book.owed).push_back(std::move(*debt));
    };
    for (const auto& h : fleet.hosts) take(accounts.of(h));
    for (const auto& [host, intent] : intents)
      if (!in_file.contains(host)) take(accounts.of_gone(host, intent));
  }
  return book;
}

}  // namespace ripcord
