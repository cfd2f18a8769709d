// One unit: link, trees, placed files, processes, journal.
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "core/base/files.hpp"
#include "core/base/text.hpp"
#include "manifests/host/bring_up.hpp"
#include "manifests/host/placed.hpp"
#include "manifests/host/return_path.hpp"
#include "manifests/host/running.hpp"
#include "manifests/host/scan.hpp"
#include "manifests/host/traces.hpp"
#include "manifests/host/tree_walk.hpp"

namespace ripcord {
namespace {

std::string folder_text(const std::optional<ReleaseId>& id) { return id ? "'" + id->folder() + "'" : "nothing"; }

class UnitLook {
 public:
  UnitLook(HostContext& host, const UnitRef& ref, const ScanManner& manner) : host_(host), unit_(host.layout.unit(ref)), manner_(manner) {
    out_.unit = ref.unit;
  }

  UnitScan run() {
    read_journal();
    auto current = read_current(unit_);
    out_.current = current.kind;
    out_.link_target = current.target;
    out_.running = current.release;
    if (!journal_readable_) out_.intended = current.release;  // nobody says otherwise
    check_link(current);
    if (out_.intended) {
      // The tree is decoded once: with what the processes are compared by, or, where that cannot be had, alone.
      load_context();
      if (context_) {
        check_tree(context_->release, false);
        check_outside();
      } else if (auto release = load(*out_.intended, false)) {
        check_tree(*release, false);
        if (!context_error_.empty()) find("record", ".", context_error_, unit_.metadata_of(out_.intended->folder()));
      }
    }
    check_way_back(current);
    return std::move(out_);
  }

 private:
  void find(std::string kind, std::string path, std::string detail, const std::string& where) {
    if (out_.findings.size() >= kMaxScanFindings) return void(++out_.more);
    DriftFinding found{std::move(kind), std::move(path), std::move(detail), "", 0, 0};
    struct stat st {};
    std::string look = where;
    while (!look.empty() && ::lstat(look.c_str(), &st) != 0 && look != "/") look = parent_dir(look);  // missing: its folder changed
    if (!look.empty() && st.st_nlink > 0) traces_.of(st, found);
    out_.findings.push_back(std::move(found));
  }

  void read_journal() {
    try {
      Journal journal(unit_);
      records_ = journal.records();
      history_ = fold(records_);
      out_.journal_seq = journal.seq();
      out_.journal_hash = journal.head_hash();
      out_.ledger_id = history_.ledger_id;
      out_.intended = history_.believed;
      if (const auto* last = history_.newest()) out_.last_op = state_of(*last, host_);
      out_.in_motion = history_.open() != nullptr;
    } catch (const HostFailure& e) {
      journal_readable_ = false;
      find("journal", unit_.journal(), e.what(), unit_.journal());
    }
  }

  // What was deployed without a journal of ours is not intended by anybody here: the controller knows whether it should be.
  void check_link(const CurrentLink& current) {
    if (!journal_readable_) return;
    using Kind = Observation::Current;
    if (records_.empty()) {
      if (current.kind == Kind::release) {
        find("journal", unit_.journal(), fmt::format("the journal is gone, and 'current' names {}", folder_text(current.release)), unit_.state);
        out_.intended = current.release;
      }
      return;
    }
    if (current.release == out_.intended && (current.release || current.kind == Kind::none)) return;
    bool dangling = out_.intended && current.target == UnitLayout::link_target(out_.intended->folder());
    if (dangling) return;  // the link is right; what it names is not, and the tree says how
    if (!out_.intended && history_.operations.empty()) return;
    std::string found = current.kind == Kind::none ? "nothing" : current.kind == Kind::folder ? "a folder" : "-> " + escape_terminal(current.target);
    std::string expected = out_.intended ? "-> " + UnitLayout::link_target(out_.intended->folder()) : "nothing";
    find("current", unit_.current, fmt::format("expected {}, found {}", expected, found), unit_.current);
  }

  // As the rip cord sees it. With the link moved by hand it would go nowhere; the release that it goes to once the link is right
  // is compared all the same.
  void check_way_back(const CurrentLink& current) {
    auto path = return_path(history_, current);
    if (!journal_readable_) return void(out_.back_state = "damaged");  // nothing goes anywhere before that is put right
    out_.way_back = path.exists ? path.to : history_.way_back(out_.intended);
    out_.back_state = path.exists ? "verified" : "none";
    if (!out_.way_back) return;
    auto before = out_.findings.size() + out_.more;
    auto release = load(*out_.way_back, true);
    if (release) check_tree(*release, true), check_actions(*release);
    if (!path.exists) return;
    out_.back_ms = brought_up_in_ms(records_, history_, *path.to);
    if (!release) out_.back_state = load_error_ == "missing_release" ? "missing" : "damaged";
    else if (out_.findings.size() + out_.more != before) out_.back_state = "damaged";
  }

  void check_actions(const StoredRelease& release) {  // going back restarts it by its own sealed actions
    try {
      load_spec(unit_, release.id.folder());
    } catch (const HostFailure& e) {
      find("way_back", ".", e.what(), unit_.metadata_of(release.id.folder()));
    }
  }

  std::optional<StoredRelease> load(const ReleaseId& id, bool way_back) {
    auto folder = unit_.release(id.folder());
    auto kind = [&](const char* name) { return way_back ? "way_back" : name; };
    try {
      struct stat st {};
      if (::lstat(folder.c_str(), &st) != 0) {
        load_error_ = "missing_release";
        find(kind("missing"), ".", fmt::format("the release's folder '{}' is gone", folder), folder);
        return std::nullopt;
      }
      return require_release(unit_, id);
    } catch (const HostFailure& e) {
      load_error_ = e.code();
      find(kind("record"), ".", e.what(), unit_.metadata_of(id.folder()));
      return std::nullopt;
    }
  }

  void check_tree(const StoredRelease& release, bool way_back) {
    Findings findings(kMaxScanFindings);
    auto folder = unit_.release(release.id.folder());
    auto cache = load_stat_cache(unit_, release);
    std::vector<FileToHash> hashed;
    std::vector<std::size_t> doubtful;
    try {
      doubtful = walk_tree(unit_, release, manner_.full ? nullptr : &cache, findings);
      if (!read_doubtful(unit_, release, doubtful, manner_.pace, findings, hashed))
        throw HostFailure("cancelled", "the controller hung up before the scan had ended");
    } catch (const HostFailure& e) {
      if (e.code() == "cancelled") throw;
      findings.add("unreadable", ".", e.what());
    }
    out_.files += release.tree.entries.size();
    out_.hashed += hashed.size();
    for (const auto& f : hashed) out_.hashed_bytes += f.size;
    note(release, cache, doubtful, hashed);
    std::set<std::string> gone;  // a folder that is missing or something else says it for all below it
    for (const auto& f : findings.list) {
      if (f.kind == "missing" || f.kind == "type") gone.insert(f.path);
      auto slash = f.path.rfind('/');
      if (f.kind == "missing" && slash != std::string::npos && gone.contains(f.path.substr(0, slash))) continue;
      auto path = f.path == "." ? folder : folder + "/" + f.path;
      if (way_back) find("way_back", f.path, fmt::format("{}: {}{}", release.id.folder(), f.kind, f.detail.empty() ? "" : ": " + f.detail), path);
      else find(f.kind, f.path, f.detail, path);
    }
    out_.more += findings.more;
  }

  // So that the next incremental scan, and the next activation, need not read it again, or must.
  void note(const StoredRelease& release, const StatCache& cache, const std::vector<std::size_t>& doubtful, const std::vector<FileToHash>& hashed) {
    if (host_.read_only || hashed.size() != doubtful.size()) return;
    auto now = static_cast<std::uint64_t>(host_.wall().ms) * 1000000;
    std::map<std::size_t, StatEntry> learned;
    for (std::size_t n = 0; n < hashed.size(); ++n) {
      const auto& f = hashed[n];
      auto before = StatEntry::of(f.before);
      bool right = f.error == 0 && f.digest == release.tree.entries[doubtful[n]].digest && f.powers.empty();
      bool steady = f.error == 0 && before == StatEntry::of(f.after) && before.ctime_ns + kSameTickNs < now;
      if (right && !steady) continue;
      auto entry = right ? before : StatEntry{};
      if (cache[doubtful[n]] != entry) learned.emplace(doubtful[n], entry);
    }
    if (learned.empty()) return;
    try {
      note_hashed(unit_, release, learned);
    } catch (const Error&) {  // a full disk: then it is read again next time
    }
  }

  // Placed files and processes need the sealed spec and the journal's labels.
  void load_context() {
    if (!journal_readable_ || records_.empty() || out_.in_motion) return;
    try {
      context_ = ReleaseContext::load(host_, unit_, *out_.intended, history_);
    } catch (const HostFailure& e) {
      context_error_ = e.what();
    }
  }

  void check_outside() {
    try {
      for (const auto& file : expected_placed(*context_)) check_placed(file);
    } catch (const Error& e) {
      find("unreadable", ".", fmt::format("files: cannot be compared: {}", e.what()), "");
    }
    RunningRule rule = rule_of(host_, records_, history_, *context_);
    rule.replaced_too = true;
    for (auto& p : running_findings(*context_, rule)) find(std::string(to_text(p.kind)), "", std::move(p.what), "");
  }

  void check_placed(const PlacedExpectation& want) {
    struct stat st {};
    if (::lstat(want.path.c_str(), &st) != 0)
      return errno == ENOENT || errno == ENOTDIR ? find("missing", want.path, "", want.path) : find("unreadable", want.path, errno_text(errno), want.path);
    if (!S_ISREG(st.st_mode)) return find("type", want.path, "expected a file", want.path);
    if ((st.st_mode & 07777) != want.mode)
      find("mode", want.path, fmt::format("expected {:04o}, found {:04o}", want.mode, st.st_mode & 07777), want.path);
    if (st.st_uid != want.owner.uid || st.st_gid != want.owner.gid)
      find("owner", want.path, fmt::format("expected {}:{}, found {}:{}", want.owner.uid, want.owner.gid, st.st_uid, st.st_gid), want.path);
    if (static_cast<std::uint64_t>(st.st_size) != want.source->size)
      return find("changed", want.path, fmt::format("expected {} bytes, found {}", want.source->size, st.st_size), want.path);
    // Few and small, and their folder is not ours: always read.
    std::vector<FileToHash> one{{want.path.substr(want.path.rfind('/') + 1), want.source->size}};
    if (!hash_files(parent_dir(want.path), one, manner_.pace)) throw HostFailure("cancelled", "the controller hung up before the scan had ended");
    ++out_.files, ++out_.hashed, out_.hashed_bytes += want.source->size;
    if (one[0].error) return find("unreadable", want.path, errno_text(one[0].error), want.path);
    if (one[0].digest != want.source->digest)
      find("changed", want.path, fmt::format("expected sha256 {}, found {}", want.source->digest.short_hex(), one[0].digest.short_hex()), want.path);
    for (const auto& name : one[0].powers) find("xattr", want.path, fmt::format("unexpected {}", name), want.path);
  }

  HostContext& host_;
  UnitLayout unit_;
  const ScanManner& manner_;
  UnitScan out_;
  Traces traces_;
  std::vector<JournalRecord> records_;
  UnitHistory history_;
  bool journal_readable_ = true;
  std::optional<ReleaseContext> context_;
  std::string context_error_, load_error_;
};

std::int64_t journal_size(const UnitLayout& unit) {
  struct stat st {};
  return ::stat(unit.journal().c_str(), &st) == 0 ? st.st_size : -1;
}

}  // namespace

UnitScan scan_unit(HostContext& host, const UnitRef& ref, const ScanManner& manner) {
  auto unit = host.layout.unit(ref);
  UnitScan found;
  for (int tries = 0; tries < 2; ++tries) {  // an operation that began and ended meanwhile: what was seen belongs to neither side of it
    auto before = journal_size(unit);
    found = UnitLook(host, ref, manner).run();
    if (journal_size(unit) == before) return found;
  }
  found.in_motion = true;
  return found;
}

}  // namespace ripcord
