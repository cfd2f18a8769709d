#include "plans/drift/drift.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "core/base/digest.hpp"
#include "core/base/error.hpp"
#include "plans/hosts/lost_state.hpp"

namespace ripcord {
namespace {

using Standing = Intent::Standing;

// What an operation changes while it runs. Files of a release never change, so a difference in one is drift at any time.
bool moves_in_a_rollout(const std::string& kind, const std::string& path) {
  if (kind == "missing" || kind == "changed" || kind == "mode" || kind == "owner") return path.starts_with('/');  // placed files
  return kind == "current" || kind == "wrong_release" || kind == "not_running" || kind == "other_release" || kind == "deleted_binary" ||
         kind == "not_restarted" || kind == "record";
}

bool about_files(const DriftFinding& f) {
  static const std::set<std::string> kinds{"changed", "mode", "owner", "missing", "extra", "link", "type", "xattr", "unreadable", "way_back"};
  return kinds.contains(f.kind);
}

const Intent* find(const Intents& intents, const std::string& unit, const std::string& host) {
  auto by_host = intents.find(unit);
  if (by_host == intents.end()) return nullptr;
  auto found = by_host->second.find(host);
  return found == by_host->second.end() ? nullptr : &found->second;
}

// What the scan told, as a look at the way back alone would have told it.
HostLook way_back_of(const HostScan& scan, const std::string& unit) {
  HostLook l;
  l.host = scan.host, l.fault_name = scan.fault_name, l.fault = scan.fault, l.hint = scan.hint, l.fault_kind = scan.fault_kind;
  if (!scan.report) return l;
  l.look = Look{};
  for (const auto& u : scan.report->units)
    if (u.unit == unit) l.look->unit.back_state = u.back_state, l.look->unit.back = u.way_back, l.look->unit.back_ms = u.back_ms;
  return l;
}

std::string today(WallTime now) { return format_utc(now).substr(0, 10); }

class Judge {
 public:
  Judge(const HostScan& scan, const DriftInput& in, std::vector<DriftItem>& out) : scan_(scan), in_(in), out_(out) {}

  void run() {
    if (!scan_.report) return;
    if (scan_.clock_skew > kClockOff || scan_.clock_skew < -kClockOff) {
      bool ahead = scan_.clock_skew > Millis(0);
      add("", {"clock", "", fmt::format("{} {}", format_duration(ahead ? scan_.clock_skew : -scan_.clock_skew), ahead ? "ahead" : "behind"), "", 0, 0});
    }
    for (const auto& f : scan_.report->findings) add("", f);
    for (const auto& unit : scan_.report->units) judge_unit(unit);
    for (const auto& other : scan_.report->others) judge_other(other);
  }

 private:
  DriftItem& add(const std::string& unit, DriftFinding finding) {
    DriftItem item;
    item.host = scan_.host->name;
    item.unit = unit;
    item.finding = std::move(finding);
    out_.push_back(std::move(item));
    return out_.back();
  }

  void judge_unit(const UnitScan& u) {
    const auto* intent = find(*in_.after, u.unit, scan_.host->name);
    const auto* earlier = find(*in_.before, u.unit, scan_.host->name);
    bool there = u.current != Observation::Current::none || u.intended || u.journal_seq > 0;
    if (!intent) {
      if (there) foreign(u.unit, u.ledger_id);
      return;
    }
    bool same = earlier && earlier->seq == intent->seq && earlier->folder == intent->folder && earlier->standing == intent->standing;
    bool moving = u.in_motion || !same || intent->standing == Standing::moving;
    auto begin = out_.size();
    for (const auto& f : u.findings) add(u.unit, f);
    if (u.more > 0) add(u.unit, {"more", "", fmt::format("{} more findings were left out", u.more), "", 0, 0});
    compare_release(u, *intent);
    auto rules = begin < out_.size() && in_.ignore ? in_.ignore(u.unit, *intent) : std::vector<IgnoreRule>{};
    for (auto i = begin; i < out_.size(); ++i) explain(out_[i], u, *intent, moving, rules);
  }

  // The host's journal against the ledger. A link that was moved by hand is a finding of its own, and says enough.
  void compare_release(const UnitScan& u, const Intent& intent) {
    bool journal_lost = std::any_of(u.findings.begin(), u.findings.end(), [](const DriftFinding& f) { return f.kind == "journal"; });
    auto said = journal_lost ? u.running : u.intended;
    auto folder = said ? said->folder() : "";
    if (folder == intent.folder) return;
    auto shown = [](const std::string& f) { return f.empty() ? "nothing" : f; };
    std::string detail = fmt::format("expected {}, found {}", shown(intent.folder), shown(folder));
    if (auto lost = lost_state(u.current, u.link_target, u.last_op.has_value(), {u.unit, intent.root}, scan_.host->name); !lost.empty()) detail += "; " + lost;
    if (u.last_op && !u.last_op->who.empty())
      detail += fmt::format("; its journal says: {} by {}{}", u.last_op->forward ? "deployed" : "rolled back", u.last_op->who,
                            u.last_op->why.empty() ? "" : ", \"" + u.last_op->why + "\"");
    auto& item = add(u.unit, {"wrong_release", "", std::move(detail), "", 0, 0});
    if (u.last_op) item.finding.mtime_ms = item.finding.ctime_ms = u.last_op->at_ms;
  }

  void explain(DriftItem& item, const UnitScan& u, const Intent& intent, bool moving, const std::vector<IgnoreRule>& rules) {
    item.expected = intent.folder.empty() ? "nothing" : intent.version();
    const auto& f = item.finding;
    bool moves = moves_in_a_rollout(f.kind, f.path);
    if (moving && moves) {
      item.cause = DriftCause::pending;
      item.why = fmt::format("rollout {} is at it", intent.rollout);
    } else if (is_known(item, rules)) {
      item.cause = DriftCause::known;
    } else if (moves && intent.standing == Standing::away) {
      item.cause = DriftCause::away;
      item.why = fmt::format("it missed {}{}", intent.rollout, intent.reason.empty() ? "" : ": " + intent.reason);
    } else if (moves && (intent.standing == Standing::failed || went_back_by_itself(u, intent))) {
      item.cause = DriftCause::failed_install;
      auto reason = intent.reason.empty() && u.last_op ? u.last_op->detail : intent.reason;
      item.why = fmt::format("{} failed on it{}", intent.rollout, reason.empty() ? "" : ": " + reason);
    }
  }

  static bool went_back_by_itself(const UnitScan& u, const Intent& intent) {
    return u.last_op && u.last_op->rollout == intent.rollout &&
           (u.last_op->phase == OpPhase::reverted || u.last_op->phase == OpPhase::needs_operator || u.last_op->phase == OpPhase::failed_unchanged);
  }

  bool is_known(DriftItem& item, const std::vector<IgnoreRule>& rules) {
    auto day = today(in_.now);
    for (const auto& a : in_.accepted) {
      if (a.key != item.key() || a.detail != item.finding.detail) continue;
      item.why = fmt::format("accepted by {} until {}: {}", a.by, a.until, a.why);
      if (a.until >= day) return true;
      item.why = fmt::format("the acceptance by {} ended on {}", a.by, a.until);
    }
    if (!about_files(item.finding)) return false;
    for (const auto& rule : rules) {
      if (!glob_match(rule.path, item.finding.path)) continue;
      item.why = fmt::format("ignored by {} until {}: {}", rule.owner, rule.until, rule.reason);
      if (rule.until >= day) return true;
      item.why = fmt::format("the ignore rule of {} for '{}' ended on {}", rule.owner, rule.path, rule.until);
    }
    return false;
  }

  void judge_other(const UnitRef& other) {
    // A unit of this ledger that was not asked about has its own turn.
    if (find(*in_.after, other.unit, scan_.host->name)) return;
    foreign(other.unit, "");
    out_.back().finding.path = (other.root == "/" ? "" : other.root) + "/" + other.unit;
  }

  void foreign(const std::string& unit, const std::string& ledger) {
    add(unit, {"foreign_unit", "", ledger.empty() ? "nobody deployed it by this ledger" : fmt::format("deployed by the ledger '{}'", ledger), "", 0, 0});
  }

  const HostScan& scan_;
  const DriftInput& in_;
  std::vector<DriftItem>& out_;
};

}  // namespace

std::string_view to_text(DriftCause cause) {
  switch (cause) {
    case DriftCause::unaudited: return "unaudited";
    case DriftCause::failed_install: return "failed_install";
    case DriftCause::away: return "away";
    case DriftCause::pending: return "pending";
    case DriftCause::known: return "known";
  }
  return "unaudited";
}

std::string DriftItem::key() const { return fmt::format("{}\n{}\n{}\n{}", host, unit, finding.kind, finding.path); }
std::string DriftItem::id() const { return sha256(key()).hex().substr(0, 8); }

std::vector<DriftItem> judge_drift(const std::vector<HostScan>& scans, const DriftInput& in) {
  std::vector<DriftItem> out;
  for (const auto& scan : scans) {
    auto begin = out.size();
    Judge(scan, in, out).run();
    std::sort(out.begin() + static_cast<std::ptrdiff_t>(begin), out.end(), [](const DriftItem& a, const DriftItem& b) {
      return std::tie(a.unit, a.finding.kind, a.finding.path, a.finding.detail) < std::tie(b.unit, b.finding.kind, b.finding.path, b.finding.detail);
    });
  }
  return out;
}

std::map<std::string, Readiness> ways_back(const std::vector<HostScan>& scans, const Intents& intents, const std::vector<std::string>& units) {
  std::map<std::string, Readiness> out;
  for (const auto& unit : units) {
    std::vector<HostLook> looks;
    for (const auto& s : scans)
      if (find(intents, unit, s.host->name)) looks.push_back(way_back_of(s, unit));
    out[unit] = readiness(looks);
  }
  return out;
}

std::vector<Accepted> fold_accepted(const std::vector<LedgerEntry>& entries) {
  std::vector<Accepted> out;
  for (const auto& e : entries) {
    if (get_string_or(e.body, "kind", "") != "drift.accepted") continue;
    Accepted a{get_string(e.body, "key"), get_string_or(e.body, "detail", ""), get_string_or(e.body, "who", ""), get_string_or(e.body, "why", ""),
               get_string(e.body, "until")};
    std::erase_if(out, [&](const Accepted& old) { return old.key == a.key; });  // the newest word counts
    out.push_back(std::move(a));
  }
  return out;
}

Exit drift_exit(const std::vector<HostScan>& scans, const std::vector<DriftItem>& items) {
  Exit exit = Exit::done;
  for (const auto& s : scans)
    if (!s.report && s.apart.empty()) exit = worst(exit, s.fault_kind == LinkFault::trust ? Exit::integrity : Exit::unreachable);
  for (const auto& i : items)
    if (i.alerts && i.counts()) exit = worst(exit, i.cause == DriftCause::away ? Exit::unreachable : Exit::drift);
  return exit;
}

}  // namespace ripcord
