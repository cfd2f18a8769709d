#include "plans/rollout/change_groups.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <tuple>

namespace ripcord {
namespace {

std::string from_text(const std::string& unit, const std::optional<ReleaseId>& from) {
  return from ? unit + "@" + from->version : "nothing";
}

// Counts what differs between two trees, and the bytes of files whose content is new.
void compare(const Tree* from, const Tree& to, ChangeGroup& group) {
  std::map<std::string, const TreeEntry*> old;
  std::set<Digest> there;
  if (from)
    for (const auto& e : from->entries) {
      if (e.kind == SourceEntry::Kind::dir) continue;
      old[e.path] = &e;
      there.insert(e.digest);
    }
  for (const auto& e : to.entries) {
    if (e.kind == SourceEntry::Kind::dir) continue;
    auto found = old.find(e.path);
    if (found == old.end()) ++group.files_added;
    else if (found->second->digest != e.digest || found->second->mode != e.mode || found->second->target != e.target) ++group.files_changed;
    if (found != old.end()) old.erase(found);
    if (e.kind == SourceEntry::Kind::file && there.insert(e.digest).second) group.bytes += e.size;
  }
  group.files_removed = old.size();
}

// What hosts hold now, as far as those releases are in the store here.
class OldTrees {
 public:
  explicit OldTrees(const ReleaseStore& store) : store_(store) {}

  const Tree* find(const ReleaseId& from, const Host& host, const std::string& arch) {
    auto known = by_manifest_.find(from.manifest);
    if (known == by_manifest_.end()) {
      known = by_manifest_.try_emplace(from.manifest).first;
      try {
        known->second.first = load_release(store_, from.manifest);
        known->second.second = std::make_unique<TreeMaker>(known->second.first, store_);
      } catch (const Error&) {
        known->second.second.reset();  // sealed elsewhere: only its name is known here
      }
    }
    if (!known->second.second) return nullptr;
    try {
      return &known->second.second->tree_for(host, arch);
    } catch (const Error&) {
      return nullptr;  // its templates do not fit today's labels
    }
  }

 private:
  const ReleaseStore& store_;
  std::map<Digest, std::pair<ReleaseOnHand, std::unique_ptr<TreeMaker>>> by_manifest_;
};

}  // namespace

void group_changes(Preflight& out, const ReleaseOnHand& release, const ReleaseStore& store, const std::map<std::string, const HostLook*>& looks,
                   const std::map<std::string, const Tree*>& wanted) {
  OldTrees olds(store);
  // By what a person would call the same change: the same two releases, and as many files and bytes. Trees differ from host to
  // host as soon as a template names the host.
  std::map<std::tuple<std::string, Digest, std::uint64_t, std::uint64_t, std::uint64_t>, ChangeGroup> groups;
  std::vector<std::string> services;
  for (const auto& s : release.manifest.spec.services) services.push_back(s.name);
  for (const auto& h : out.spec.hosts) {
    if (h.unchanged || h.away) continue;
    const auto& l = *looks.at(h.name);
    auto from = from_text(release.manifest.spec.unit, h.from);
    ChangeGroup change;
    change.from = from;
    change.to = release.manifest.spec.unit + "@" + h.to.version;
    change.restarts = services;
    const Tree* old = h.from ? olds.find(*h.from, *l.host, l.look->hello.arch) : nullptr;
    compare(old, *wanted.at(h.name), change);
    auto key = std::tuple(from, h.from ? h.from->manifest : Digest{}, change.files_changed, change.files_added, change.files_removed);
    auto& g = groups.try_emplace(key, change).first->second;
    g.bytes = std::max(g.bytes, change.bytes);
    g.hosts.push_back(h.name);
    out.bytes_to_send += change.bytes;
    if (l.look->unit.free_bytes < 2 * change.bytes)
      out.findings.push_back({h.name, fmt::format("{} free, and the release needs up to {}", format_size(l.look->unit.free_bytes), format_size(change.bytes)),
                              change.bytes > l.look->unit.free_bytes});
  }
  for (auto& [key, g] : groups) out.groups.push_back(std::move(g));
}

}  // namespace ripcord
