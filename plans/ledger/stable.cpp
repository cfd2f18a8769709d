#include "plans/ledger/stable.hpp"

#include <algorithm>

#include "core/base/error.hpp"

namespace ripcord {
namespace {

// "1.1-0123456789ab" and "nothing", as entries name releases on hosts.
std::string version_of(const std::string& folder) { return folder == "nothing" ? "" : folder.substr(0, folder.rfind('-')); }

class StableFold {
 public:
  void apply(const LedgerEntry& e) {
    const auto& b = e.body;
    const auto kind = get_string_or(b, "kind", ""), unit = get_string_or(b, "unit", ""), id = get_string_or(b, "rollout", "");
    if (kind == "drift.repair") repairs_.insert(id);
    else if (kind == "rollout.started") started(get_object(b, "spec"));
    else if (kind == "rollout.ended") ended(id, get_string_or(b, "outcome", ""), e.seq);
    else if (kind == "rollback.started") went_back(out_[unit], unit, b, e.seq);
    else if (kind == "rollback.host" && get_string_or(b, "result", "") == "returned") out_[unit].moved[get_string(b, "host")] = e.seq;
  }
  std::map<std::string, UnitStanding> result() { return std::move(out_); }

 private:
  struct Begun {
    std::string unit;
    Stable would_be;
    std::set<std::string> left_out;
    bool decides = true;
  };

  void started(const json::object& o) {
    auto spec = rollout_spec_from_json(o);
    Begun begun{spec.unit, {spec.version, spec.root, spec.carried_by, spec.manifest, spec.id, false, "", spec.no_return, 0}, {},
                spec.purpose.empty() && !repairs_.contains(spec.id)};
    for (const auto& left : spec.left_out)
      if (left.until_ms == 0) begun.left_out.insert(left.host);
    for (const auto& h : spec.hosts) {
      note(spec.unit, h.to);
      if (h.from) note(spec.unit, *h.from);
    }
    out_[spec.unit].open.insert(spec.manifest);
    begun_.insert_or_assign(spec.id, std::move(begun));
  }

  void note(const std::string& unit, const ReleaseId& release) {
    manifests_[{unit, release.version}] = release.manifest;
    out_[unit].recorded.insert(release.manifest);
  }

  void ended(const std::string& id, const std::string& outcome, std::int64_t seq) {
    auto found = begun_.find(id);
    if (found == begun_.end()) return;
    const auto& begun = found->second;
    auto& unit = out_[begun.unit];
    unit.open.erase(begun.would_be.manifest);
    if (outcome != "completed") {
      std::erase_if(unit.partial, [&](const Partial& p) { return p.rollout == id; });
    } else if (begun.decides && begun.left_out.empty()) {
      auto next = begun.would_be;
      next.seq = seq;
      settle(unit, std::move(next));
    } else if (begun.decides) {
      unit.partial.push_back({begun.would_be.version, id, begun.would_be.manifest, begun.left_out, seq});
    }
  }

  static void settle(UnitStanding& unit, Stable next) {
    unit.partial.clear();
    if (unit.now() && unit.now()->manifest == next.manifest) return;  // the same once more: whoever was moved away from it meanwhile stays
    // A way back leads to where it was before, and what came after that is no more.
    auto known = std::find_if(unit.stable.begin(), unit.stable.end(), [&](const Stable& s) { return s.manifest == next.manifest; });
    if (next.by_cord && known != unit.stable.end()) {
      next.root = known->root, next.carried_by = known->carried_by, next.no_return = known->no_return;
      unit.stable.erase(known, unit.stable.end());
    } else if (next.by_cord && unit.now()) {
      next.root = unit.now()->root, next.carried_by = unit.now()->carried_by;
      unit.stable.pop_back();
    }
    unit.stable.push_back(std::move(next));
  }

  // Where most hosts of the unit were to be from then on. A cord for some of them leaves the others where they are.
  void went_back(UnitStanding& unit, const std::string& name, const json::object& b, std::int64_t seq) {
    const auto* targets = find_object(b, "targets");
    if (!targets || !unit.now()) return;
    std::map<std::string, int> votes;
    for (const auto& [host, folder] : *targets)
      if (folder.is_string()) ++votes[version_of(std::string(folder.get_string()))];
    auto most = std::max_element(votes.begin(), votes.end(), [](const auto& x, const auto& y) { return x.second < y.second; });
    if (most == votes.end()) return;
    auto here = votes.find(unit.now()->version);
    if (here != votes.end() && here->second == most->second) return;  // a tie changes nothing
    if (most->first.empty()) {
      unit.stable.clear(), unit.partial.clear();  // its first rollout was undone
      return;
    }
    auto manifest = manifests_.find({name, most->first});
    if (manifest == manifests_.end()) return;
    Stable next;
    next.version = most->first, next.manifest = manifest->second, next.by_cord = true, next.undone = get_string_or(b, "undoes", ""), next.seq = seq;
    settle(unit, std::move(next));
  }

  std::map<std::string, UnitStanding> out_;
  std::map<std::string, Begun> begun_;  // by rollout
  std::map<std::pair<std::string, std::string>, Digest> manifests_;  // (unit, version): one version is one release for ever
  std::set<std::string> repairs_;       // of ledgers in which a repair does not say so itself
};

}  // namespace

const Stable* UnitStanding::before() const {
  if (stable.size() < 2 || !stable.back().no_return.empty()) return nullptr;
  return &stable[stable.size() - 2];
}

std::map<std::string, UnitStanding> fold_standing(const std::vector<LedgerEntry>& entries) {
  StableFold fold;
  for (const auto& e : entries) fold.apply(e);
  return fold.result();
}

}  // namespace ripcord
