#include "manifests/host/stage.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "core/base/text.hpp"
#include "manifests/host/history.hpp"
#include "manifests/host/lock.hpp"
#include "manifests/host/operation.hpp"
#include "manifests/host/own_files.hpp"
#include "manifests/host/persist.hpp"
#include "manifests/host/release_writer.hpp"
#include "manifests/host/staging_folder.hpp"

namespace ripcord {
namespace {

// Up to here one fsync a file; beyond, one syncfs. Measured on ext4, 25 KiB a file: 200 files take 36 ms with fsync each and 11 ms
// with syncfs, and fifty hosts on one disk cost the same CPU either way; but syncfs also waits for whatever else the host has
// dirty, so a handful of files should not pay for that.
constexpr std::size_t kFsyncEach = 32;

// Linux 5.8 and newer: syncfs reports write errors of the file system. Older ones cannot be trusted with it.
bool syncfs_is_checked() {
  static const bool yes = [] {
    utsname name{};
    int major = 0, minor = 0;
    return ::uname(&name) == 0 && std::sscanf(name.release, "%d.%d", &major, &minor) == 2 && (major > 5 || (major == 5 && minor >= 8));
  }();
  return yes;
}

bool one_file_system(int fd, const std::string& path) {
  struct stat a {}, b {};
  return ::fstat(fd, &a) == 0 && ::stat(path.c_str(), &b) == 0 && a.st_dev == b.st_dev;
}

void check_root(const UnitHistory& history, const UnitLayout& unit) {
  if (!history.root.empty() && history.root != unit.root)
    throw HostFailure("conflict", fmt::format("unit '{}' lives in '{}' on this host, the release wants it in '{}'", unit.unit, history.root, unit.root),
                      "an install root cannot change under a running unit; deploy it as another unit");
}

bool is_complete(const PreparedRelease& p) {
  if (!p.tree_known()) return false;
  try {
    auto stored = load_release(p.unit, p.id().folder());
    return stored && stored->id == p.id() && verify_release(p.unit, *stored, Verify::quick).clean();
  } catch (const HostFailure&) {
    return false;
  }
}

void journal_labels(HostContext& host, const UnitLock& lock, Journal& journal, const HostFacts& facts) {
  auto history = fold(journal.records());
  if (history.labels == facts.labels && history.arch == facts.arch) return;
  json::object labels;
  for (const auto& [key, value] : facts.labels) labels[key] = value;
  journal.append(host, lock, "LABELS", {{"labels", std::move(labels)}, {"arch", facts.arch}});
}

StageReply reply_of(const PreparedRelease& p) {
  StageReply reply;
  reply.release = p.id();
  reply.complete = true;
  reply.tree_bytes = p.tree.bytes();
  for (const auto& e : p.tree.entries) reply.files += e.kind == SourceEntry::Kind::file;
  return reply;
}

// From an open staging folder to a durable release without a name: everything but the rename.
struct Written {
  std::string metadata;  // staged name
};

Written make_durable(HostContext& host, PreparedRelease& p, StagingFolder& staging, ReleaseWriter& writer, Owner owner, bool fsync_each) {
  auto stat = writer.finish();
  host.ensure_unit_state(p.unit);
  make_own_dirs(p.unit.metadata());
  bool together = one_file_system(staging.files().fd(), p.unit.metadata());
  MetadataParts parts{{p.id(), owner.uid, owner.gid, p.facts}, &p.tree, &p.sealed, &stat, &p.templates};
  Written written{write_metadata(p.unit, parts, fsync_each || !together)};
  if (!fsync_each && ::syncfs(staging.files().fd()) != 0) throw host_os_error("syncfs", staging.files().path(), errno);
  host.event("stored");
  return written;
}

// `relabels`: not when a release is made whole with the labels it always had: today's may be others.
void publish(HostContext& host, PreparedRelease& p, const UnitLock& lock, StagingFolder& staging, const Written& written, bool relabels) {
  Journal journal(p.unit);
  const auto history = fold(journal.records());
  check_root(history, p.unit);
  auto id = p.id();
  if (CurrentLink current = read_current(p.unit); current.folder == id.folder()) require_recorded(p.unit, current, history);
  move_metadata(p.unit, written.metadata, id.folder());
  auto damaged = staging.move_to(id.folder());
  if (relabels) journal_labels(host, lock, journal, p.facts);
  json::object staged{{"release", to_json(id)}, {"bytes", p.tree.bytes()}, {"files", reply_of(p).files}};
  if (!damaged.empty()) staged["replaced"] = damaged;
  journal.append(host, lock, "STAGED", std::move(staged));
}

void read_pack(ReleaseWriter& writer, const std::function<std::optional<std::string>()>& next_part) {
  PackReader reader(writer);
  bool anything = false;
  try {
    while (auto part = next_part()) {
      anything = true;
      reader.feed(*part);
    }
    if (anything) reader.finish();  // nothing was lacking: nothing had to come
  } catch (const HostFailure&) {
    throw;
  } catch (const Error& e) {
    throw HostFailure("bad_request", fmt::format("the pack cannot be used: {}", e.what()), "nothing was switched; send it again");
  }
}

std::size_t file_count(const PreparedRelease& p) { return reply_of(p).files; }

void make_unit_folders(const UnitLayout& unit) {
  make_own_dirs(unit.releases, 0755);
  make_own_dirs(unit.shared, 0755);
}

}  // namespace

StageReply stage_offer(HostContext& host, const StageOffer& offer, std::optional<OpenOffer>& open) {
  open.reset();
  auto unit = host.layout.unit(offer.unit);
  LocalObjects objects(unit);
  auto prepared = prepare(host, offer, objects);
  Journal journal(unit);
  auto history = fold(journal.records());
  check_root(history, unit);
  auto reply = judge_offer(prepared, objects);
  bool relabelled = history.labels != prepared.facts.labels || history.arch != prepared.facts.arch;
  if (reply.complete && relabelled && !host.read_only) {
    UnitLock lock(host, unit, "journal labels");
    Journal again(unit);
    journal_labels(host, lock, again, prepared.facts);
  }
  if (!reply.complete) open.emplace(OpenOffer{offer, std::move(prepared), {}});
  return reply;
}

StageReply stage_pack(HostContext& host, OpenOffer& open, const std::function<std::optional<std::string>()>& next_part) {
  auto& p = open.prepared;
  if (is_complete(p)) {  // another session was faster
    while (next_part()) {
    }
    return reply_of(p);
  }
  auto owner = open.mending ? *open.mending : owner_of(p.manifest.spec);
  check_space(p.unit, p.tree);
  std::optional<StagingFolder> staging;
  {
    UnitLock lock(host, p.unit, fmt::format("stage {}", p.manifest.spec.version));
    Journal journal(p.unit);
    check_root(fold(journal.records()), p.unit);
    make_unit_folders(p.unit);
    remove_dead_staging(p.unit);
    staging.emplace(p.unit, p.manifest.spec.version);
  }  // writing files takes long, and the way back must not wait for it
  make_persist_folders(p.unit, p.manifest.spec, owner);
  bool fsync_each = file_count(p) <= kFsyncEach || !syncfs_is_checked();
  ReleaseWriter writer(staging->files(), p, owner, fsync_each);
  writer.make_folders_and_links();
  {
    LocalObjects objects(p.unit);
    writer.copy_local(objects);
  }
  read_pack(writer, next_part);
  host.event("written");
  auto written = make_durable(host, p, *staging, writer, owner, fsync_each);
  UnitLock lock(host, p.unit, fmt::format("stage {}", p.manifest.spec.version));
  if (!is_complete(p)) publish(host, p, lock, *staging, written, !open.mending);
  return reply_of(p);
}

bool heal_release(HostContext& host, const UnitLayout& unit, const UnitLock& lock, const ReleaseId& id) {
  auto id_text = read_file_if_exists(unit.metadata_of(id.folder()) + "/id");
  if (!id_text) return false;
  auto known = decode_id_file(*id_text);
  LocalObjects objects(unit);
  auto p = lay_out(unit, stored_manifest(unit, id.folder()), known.facts, objects);
  if (p.id() != id) return false;
  Owner owner{known.uid, known.gid};
  check_space(unit, p.tree);
  make_unit_folders(unit);
  remove_dead_staging(unit);
  StagingFolder staging(unit, id.version);
  bool fsync_each = file_count(p) <= kFsyncEach || !syncfs_is_checked();
  ReleaseWriter writer(staging.files(), p, owner, fsync_each);
  writer.make_folders_and_links();
  writer.copy_local(objects);
  if (!writer.lacking().empty()) return false;
  auto written = make_durable(host, p, staging, writer, owner, fsync_each);
  publish(host, p, lock, staging, written, false);
  return true;
}

}  // namespace ripcord
