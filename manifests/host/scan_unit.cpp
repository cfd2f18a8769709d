// One unit: link, trees, placed files, processes, journal.
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

#include "core/base/files.hpp"
#include "core/base/text.hpp"
#include "manifests/host/bring_up.hpp"
#include "manifests/host/hash_files.hpp"
#include "manifests/host/placed.hpp"
#include "manifests/host/return_path.hpp"
#include "manifests/host/running.hpp"
#include "manifests/host/scan.hpp"
#include "manifests/host/scan_tree.hpp"
#include "manifests/host/traces.hpp"
#include "manifests/host/untouched.hpp"

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
    if (out_.intended) check_intended();
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

  // The tree is decoded once at most: with what the processes are compared by, or, where that cannot be had, alone.
  void check_intended() {
    bool same = is_untouched(*out_.intended);
    load_context(same);
    if (!same && context_) check_tree(context_->release, false);
    if (!same && !context_) {
      auto release = load(*out_.intended, false);
      if (!release) return;
      check_tree(*release, false);
    }
    if (context_) check_outside();
    else if (!context_error_.empty()) find("record", ".", context_error_, unit_.metadata_of(out_.intended->folder()));
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
    bool there = true;
    if (!is_untouched(*out_.way_back)) {
      auto release = load(*out_.way_back, true);
      there = release.has_value();
      if (there) check_tree(*release, true);
    }
    if (there && manner_.full) check_actions(*out_.way_back);
    if (!path.exists) return;
    out_.back_ms = brought_up_in_ms(records_, history_, *path.to);
    if (!there) out_.back_state = load_error_ == "missing_release" ? "missing" : "damaged";
    else if (out_.findings.size() + out_.more != before) out_.back_state = "damaged";
  }

  bool is_untouched(const ReleaseId& id) {
    auto entries = manner_.full ? std::nullopt : untouched(unit_, id);
    out_.files += entries.value_or(0);
    return entries.has_value();
  }

  void check_actions(const ReleaseId& id) {  // going back restarts it by its own sealed actions
    try {
      load_spec(unit_, id.folder());
    } catch (const HostFailure& e) {
      find("way_back", ".", e.what(), unit_.metadata_of(id.folder()));
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
    auto seen = scan_tree(host_, unit_, release, manner_);
    out_.files += seen.files;
    out_.hashed += seen.hashed;
    out_.hashed_bytes += seen.hashed_bytes;
    auto folder = unit_.release(release.id.folder());
    for (const auto& f : seen.findings) {
      auto path = f.path == "." ? folder : folder + "/" + f.path;
      if (way_back) find("way_back", f.path, fmt::format("{}: {}{}", release.id.folder(), f.kind, f.detail.empty() ? "" : ": " + f.detail), path);
      else find(f.kind, f.path, f.detail, path);
    }
    out_.more += seen.more;
  }

  // Placed files and processes need the sealed spec and the journal's labels; few need the tree, so when nothing else wants it either
  // it is left out.
  void load_context(bool same) {
    if (!journal_readable_ || records_.empty() || out_.in_motion) return;
    try {
      auto spec = load_spec(unit_, out_.intended->folder());
      bool needs_tree = !same || !spec.files.empty() || spec.running.by == Running::By::exe_digest;
      auto release = needs_tree ? require_release(unit_, *out_.intended) : StoredRelease{*out_.intended, {}, 0, 0};
      context_ = ReleaseContext::of(host_, unit_, std::move(release), std::move(spec), history_);
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
