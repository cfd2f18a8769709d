#include "plans/ledger/drift_intent.hpp"

#include "core/base/error.hpp"

namespace ripcord {
namespace {

using Standing = Intent::Standing;

std::string folder_of(const std::optional<ReleaseId>& release) { return release ? release->folder() : ""; }

class Fold {
 public:
  void apply(const LedgerEntry& e) {
    const auto& b = e.body;
    auto kind = get_string_or(b, "kind", ""), rollout = get_string_or(b, "rollout", "");
    if (kind == "rollout.started") {
      open_.insert_or_assign(rollout, RolloutState(rollout_spec_from_json(get_object(b, "spec"))));
      remember(open_.at(rollout).spec());
    }
    if (kind == "rollback.host") return went_back(b, e.seq);
    if (kind == "rollback.started") stays_[get_string_or(b, "rollback", "")] = staying(b);
    if (kind == "rollback.ended") stayed(b);
    auto found = open_.find(rollout);
    if (found == open_.end()) return;
    auto& state = found->second;
    state.apply(e);
    bool ended = state.ending != Ending::open;
    if (kind.starts_with("host.")) {
      auto host = get_string_or(b, "host", "");
      int i = state.index(host);
      if (i < 0) return;
      left_alone_.erase({rollout, host});
      settle(state, i, ended);
      intents_[state.spec().unit][host].seq = e.seq;
    } else if (kind.starts_with("rollout.")) {
      for (int i = 0; i < static_cast<int>(state.hosts().size()); ++i) settle(state, i, ended);
    }
    if (ended) open_.erase(found);
  }

  Intents result() { return std::move(intents_); }

 private:
  void remember(const RolloutSpec& spec) {
    for (const auto& h : spec.hosts) {
      manifests_[{spec.unit, h.to.folder()}] = h.to.manifest;
      if (h.from) manifests_[{spec.unit, h.from->folder()}] = h.from->manifest;
    }
  }

  void put(const std::string& unit, const std::string& host, Standing standing, const std::string& folder, std::string reason) {
    auto& intent = intents_[unit][host];
    intent.standing = standing;
    intent.folder = folder;
    auto known = manifests_.find({unit, folder});
    intent.manifest = known == manifests_.end() ? Digest{} : known->second;
    intent.reason = std::move(reason);
  }

  // A convergence or a repair brings a host where it was to be before. Where it did not get it there, that is still so.
  bool undecided(const RolloutState& state, int index, bool ended) {
    const auto& spec = state.spec();
    const auto& name = spec.hosts[static_cast<std::size_t>(index)].name;
    auto& by_host = intents_[spec.unit];
    auto known = by_host.find(name);
    if (known == by_host.end()) return false;  // nothing was decided about it
    auto before = before_.try_emplace({spec.id, name}, known->second).first;
    const auto& host = state.hosts()[static_cast<std::size_t>(index)];
    if (host.switched || host.phase == HostPhase::confirmed || (ended && state.ending == Ending::completed)) return false;
    known->second = before->second;
    return true;
  }

  // What one host of a rollout should run now, by where the rollout stands with it.
  void settle(const RolloutState& state, int index, bool ended) {
    const auto& spec = state.spec();
    const auto& plan = spec.hosts[static_cast<std::size_t>(index)];
    const auto& host = state.hosts()[static_cast<std::size_t>(index)];
    if (left_alone_.contains({spec.id, plan.name})) return;
    // Nobody could look at what runs there, and the rollout did not change it: what was intended before still is.
    if (plan.away && !host.switched && host.phase != HostPhase::confirmed && !(ended && state.ending == Ending::completed)) return;
    if (!spec.purpose.empty() && undecided(state, index, ended)) return;
    auto from = folder_of(plan.from), to = plan.to.folder();
    auto say = [&](Standing standing, const std::string& folder) {
      put(spec.unit, plan.name, standing, folder, standing == Standing::failed || standing == Standing::away ? host.reason : "");
      auto& intent = intents_[spec.unit][plan.name];
      intent.rollout = spec.id;
      intent.root = spec.root;
      if (!plan.host_id.empty()) intent.host_id = plan.host_id;
    };
    switch (host.phase) {
      case HostPhase::confirmed: return say(Standing::settled, to);
      case HostPhase::returned: {
        bool missed = ended && state.ending == Ending::completed;  // it failed, and the rollout went on without it
        return say(missed ? Standing::failed : Standing::settled, missed ? to : from);
      }
      case HostPhase::activating:
      case HostPhase::returning: return say(ended ? Standing::failed : Standing::moving, ended && state.ending != Ending::completed ? from : to);
      default: break;
    }
    if (!ended) {
      bool untouched = host.phase == HostPhase::waiting || host.phase == HostPhase::staged || (host.phase == HostPhase::unreachable && !host.switched);
      return say(untouched ? Standing::settled : Standing::moving, untouched ? from : to);
    }
    bool wanted = state.ending == Ending::completed;  // else: everything was to be as before
    switch (host.phase) {
      case HostPhase::failed: return say(wanted || host.switched ? Standing::failed : Standing::settled, wanted ? to : from);
      case HostPhase::stuck: return say(Standing::failed, wanted ? to : from);
      case HostPhase::unknown: return say(Standing::away, wanted ? to : from);
      default: return say(wanted ? Standing::away : Standing::settled, wanted ? to : from);
    }
  }

  // The rip cord moved it, whatever a rollout wanted.
  void went_back(const json::object& b, std::int64_t seq) {
    auto unit = get_string_or(b, "unit", ""), host = get_string_or(b, "host", ""), result = get_string_or(b, "result", "");
    auto after = get_string_or(b, "after", ""), detail = get_string_or(b, "detail", "");
    auto known = intents_[unit].find(host);
    if (known == intents_[unit].end() && result != "returned") return;
    std::string folder = known == intents_[unit].end() ? "" : known->second.folder;
    if (result == "returned") put(unit, host, Standing::settled, after == "nothing" ? "" : after, "");
    else if (result == "unreachable") put(unit, host, Standing::away, folder, "it did not answer when the rip cord was pulled: " + detail);
    else if (result != "unchanged") put(unit, host, Standing::failed, folder, detail);
    auto& intent = intents_[unit][host];
    intent.seq = seq;
    if (result == "unchanged") return;
    intent.rollout = get_string_or(b, "op", intent.rollout);
    for (const auto& [id, state] : open_)
      if (state.spec().unit == unit) left_alone_.emplace(id, host);
  }

  // Hosts that a rip cord found where they were to be. It moves nothing there, and says no more about them.
  static std::map<std::string, std::string> staying(const json::object& b) {
    std::map<std::string, std::string> out;
    const auto* targets = find_object(b, "targets");
    if (!targets) return out;
    for (const auto& [host, folder] : *targets)
      if (folder.is_string()) out.emplace(host, folder.get_string() == "nothing" ? std::string() : std::string(folder.get_string()));
    for (const auto& host : get_strings_or_empty(b, "hosts")) out.erase(host);
    return out;
  }

  // One that missed the rollout that was undone is not owed it any more.
  void stayed(const json::object& b) {
    auto found = stays_.find(get_string_or(b, "rollback", ""));
    if (found == stays_.end()) return;
    const auto unit = get_string_or(b, "unit", "");
    for (const auto& [host, folder] : found->second) {
      auto& by_host = intents_[unit];
      auto known = by_host.find(host);
      if (known == by_host.end() || (known->second.standing != Standing::away && known->second.standing != Standing::failed)) continue;
      put(unit, host, Standing::settled, folder, "");
    }
    stays_.erase(found);
  }

  Intents intents_;
  std::map<std::string, std::map<std::string, std::string>> stays_;           // rollback -> host -> folder
  std::map<std::string, RolloutState> open_;
  std::map<std::pair<std::string, std::string>, Intent> before_;              // (rollout, host), of those that decide nothing
  std::map<std::pair<std::string, std::string>, Digest> manifests_;           // (unit, folder)
  std::set<std::pair<std::string, std::string>> left_alone_;                  // (rollout, host): a rollback has moved it since
};

}  // namespace

std::string Intent::version() const { return folder.substr(0, folder.rfind('-')); }

Intents fold_intents(const std::vector<LedgerEntry>& entries) {
  Fold fold;
  for (const auto& e : entries) fold.apply(e);
  return fold.result();
}

}  // namespace ripcord
