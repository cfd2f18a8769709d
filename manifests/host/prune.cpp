#include "manifests/host/prune.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "core/base/digest.hpp"
#include "manifests/host/beneath.hpp"
#include "manifests/host/lock.hpp"
#include "manifests/host/observe.hpp"
#include "manifests/host/own_files.hpp"
#include "manifests/host/pending.hpp"
#include "manifests/host/process_places.hpp"
#include "manifests/host/release_folder.hpp"
#include "manifests/host/retention.hpp"

namespace ripcord {
namespace {

constexpr int kLeastKeep = 5;
constexpr std::int64_t kLeastAge = 14 * 86400000LL, kLeastMarked = 3600000;
constexpr std::string_view kGoing = ".pruned-", kEvidence = ".damaged-", kMark = ".marked-";

void check_rules(const PruneRequest& r) {
  if (r.keep < kLeastKeep || r.age_ms < kLeastAge || r.marked_ms < kLeastMarked)
    throw HostFailure("bad_request", fmt::format("retired releases stay at least {} days, and the last {}; marked ones at least an hour",
                                                 kLeastAge / 86400000, kLeastKeep));
}

// The earlier one: a clock that jumped ahead must not make everything old at once.
WallTime agreed_now(const HostContext& host, const PruneRequest& r) {
  auto here = host.wall();
  if (auto apart = here.ms - r.now_ms; apart > 86400000 || apart < -86400000)
    throw HostFailure("bad_request", fmt::format("this host's clock is {} {} the controller's, so ages mean nothing",
                                                 format_duration(Millis(apart < 0 ? -apart : apart)), apart < 0 ? "behind" : "ahead of"),
                      "set the clock; nothing was removed");
  return {std::min(here.ms, r.now_ms)};
}

std::uint64_t bytes_below(int parent, const std::string& name) {
  Fd folder(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder) return 0;
  std::uint64_t sum = 0;
  for (const auto& e : list_folder(folder.get(), name)) {
    struct stat st {};
    if (::fstatat(folder.get(), e.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
    sum += S_ISDIR(st.st_mode) ? bytes_below(folder.get(), e.name) : static_cast<std::uint64_t>(st.st_blocks) * 512;
  }
  return sum;
}

// One folder of releases or metadata, by name.
class Place {
 public:
  explicit Place(std::string path) : path_(std::move(path)), fd_(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {}
  explicit operator bool() const { return static_cast<bool>(fd_); }
  std::uint64_t bytes(const std::string& name) const { return fd_ ? bytes_below(fd_.get(), name) : 0; }
  void remove(const std::string& name) const { remove_beneath(fd_.get(), name, path_ + "/" + name); }
  std::vector<std::string> names(std::string_view prefix) const {
    std::vector<std::string> out;
    if (fd_)
      for (const auto& e : list_folder(fd_.get(), path_))
        if (e.name.starts_with(prefix)) out.push_back(e.name);
    std::sort(out.begin(), out.end());
    return out;
  }
  std::int64_t changed_ms(const std::string& name) const {
    struct stat st {};
    return ::fstatat(fd_.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 ? static_cast<std::int64_t>(st.st_mtim.tv_sec) * 1000 : INT64_MAX;
  }
  // Out of the way in one step; what was in it is removed when nobody waits. A crash in between leaves a name that the next prune removes.
  void rename_away(const std::string& name) const {
    auto away = std::string(kGoing) + name + "-" + random_hex(4);
    if (::renameat(fd_.get(), name.c_str(), fd_.get(), away.c_str()) != 0 && errno != ENOENT) throw host_os_error("rename away", path_ + "/" + name, errno);
    if (::fsync(fd_.get()) != 0) throw host_os_error("fsync the folder", path_, errno);
  }

 private:
  std::string path_;
  Fd fd_;
};

RetentionFacts facts_of(const UnitLayout& unit) {
  RetentionFacts f;
  f.releases = releases_on_host(unit);
  auto current = read_current(unit);
  if (!current.folder.empty()) f.current = current.folder;
  f.in_use = folders_in_use(unit);
  auto prefix = UnitLayout::link_target("");
  if (auto pending = read_pending(unit); pending && pending->back && pending->back->starts_with(prefix)) f.armed_back = pending->back->substr(prefix.size());
  return f;
}

void prune_releases(HostContext& host, const UnitLayout& unit, const PruneRequest& r, WallTime now, PruneReply& out) {
  Place trees(unit.releases), metadata(unit.metadata());
  std::optional<UnitLock> lock;
  if (!r.dry_run) lock.emplace(host, unit, "prune");
  Journal journal(unit);
  auto history = fold(journal.records());
  for (const auto& fate : judge_retention(journal.records(), history, facts_of(unit), r, now)) {
    auto folder = fate.release.folder();
    PruneItem item{"release", folder, fate.what == Fate::What::keep ? "kept" : fate.what == Fate::What::mark ? "marked" : "removed", fate.why, trees.bytes(folder)};
    if (fate.what == Fate::What::mark && lock) journal.append(host, *lock, "MARKED", {{"release", to_json(fate.release)}});
    if (fate.what == Fate::What::remove && lock) {
      // The tree goes before what is known about it: without its metadata it would not be found again.
      journal.append(host, *lock, "PRUNED", {{"release", to_json(fate.release)}, {"bytes", item.bytes}});
      trees.rename_away(folder);
      metadata.rename_away(folder);
    }
    out.items.push_back(std::move(item));
  }
  lock.reset();
  if (r.dry_run) return;
  for (const auto* place : {&trees, &metadata})
    for (const auto& name : place->names(kGoing)) place->remove(name);
}

// Age by the folder's own time; marked by a file beside it.
void prune_by_age(const Place& place, const std::string& path, const std::string& kind, const std::vector<std::string>& candidates, const PruneRequest& r,
                  WallTime now, PruneReply& out) {
  for (const auto& name : candidates) {
    auto mark = std::string(kMark) + name;
    PruneItem item{kind, name, "kept", "", place.bytes(name)};
    auto age = now.ms - place.changed_ms(name), marked = now.ms - place.changed_ms(mark);
    bool is_marked = exists(path + "/" + mark);
    if (age < r.age_ms) item.why = "too young";
    else if (!is_marked) item.fate = "marked", item.why = "nothing needs it any more";
    else if (marked < r.marked_ms) item.why = "marked not long ago";
    else item.fate = "removed";
    if (!r.dry_run && item.fate == "marked") write_own_file(path + "/" + mark, "");
    if (!r.dry_run && item.fate == "removed") {
      place.remove(name);
      ::unlink((path + "/" + mark).c_str());
    }
    out.items.push_back(std::move(item));
  }
}

void prune_evidence(const UnitLayout& unit, const PruneRequest& r, WallTime now, PruneReply& out) {
  Place place(unit.releases);
  if (place) prune_by_age(place, unit.releases, "evidence", place.names(kEvidence), r, now, out);
}

// Programs that wait in a process, that the boot unit names, that run now, and the newest ones stay.
void prune_programs(const HostContext& host, const PruneRequest& r, WallTime now, PruneReply& out) {
  auto path = host.layout.helper();
  Place place(path);
  if (!place) return;
  std::vector<std::string> all;
  for (const auto& name : place.names("")) {
    if (Digest::parse(name)) all.push_back(name);
  }
  auto boot_unit = read_file_if_exists(host.layout.on_host("/etc/systemd/system/ripcord-recover.service"), 65536).value_or("");
  auto running = programs_in_use(path);
  std::erase_if(all, [&](const std::string& name) { return running.contains(name) || boot_unit.find(name) != std::string::npos || host.program.find(name) != std::string::npos; });
  std::sort(all.begin(), all.end(), [&](const auto& a, const auto& b) { return place.changed_ms(a) > place.changed_ms(b); });
  all.erase(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(std::min(all.size(), static_cast<std::size_t>(r.keep))));
  prune_by_age(place, path, "program", all, r, now, out);
}

}  // namespace

PruneReply prune(HostContext& host, const PruneRequest& request) {
  check_rules(request);
  if (host.read_only && !request.dry_run) throw HostFailure("read_only", "this session may only read");
  auto now = agreed_now(host, request);
  auto unit = host.layout.unit(request.unit);
  PruneReply out;
  if (exists(unit.journal())) {
    prune_releases(host, unit, request, now, out);
    prune_evidence(unit, request, now, out);
  }
  prune_programs(host, request, now, out);
  struct statvfs fs {};
  if (::statvfs(exists(unit.releases) ? unit.releases.c_str() : "/", &fs) == 0) out.free_bytes = fs.f_bavail * (fs.f_frsize ? fs.f_frsize : fs.f_bsize);
  return out;
}

}  // namespace ripcord
