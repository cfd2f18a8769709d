#include "plans/drift/drift_memory.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/base/error.hpp"
#include "core/base/files.hpp"

namespace ripcord {
namespace {

constexpr std::uint64_t kMaxFile = 256u << 20;

std::string utc(WallTime t) { return t.ms == 0 ? "" : format_utc(t); }
WallTime time_of(const json::object& o, std::string_view key) {
  auto text = get_string_or(o, key, "");
  return text.empty() ? WallTime{} : parse_utc(text);
}

DriftCause cause_of(const std::string& text) {
  for (auto c : {DriftCause::unaudited, DriftCause::failed_install, DriftCause::away, DriftCause::pending, DriftCause::known})
    if (to_text(c) == text) return c;
  throw Error(fmt::format("'{}' is not the cause of a finding", escape_terminal(text.substr(0, 80))));
}

}  // namespace

json::object to_json(const DriftItem& i) {
  json::object o{{"id", i.id()}, {"host", i.host}, {"unit", i.unit}, {"kind", i.finding.kind}, {"path", i.finding.path}, {"detail", i.finding.detail},
                 {"cause", to_text(i.cause)}, {"why", i.why}, {"expected", i.expected}};
  if (!i.finding.owner.empty()) o["owner"] = i.finding.owner;
  if (i.finding.mtime_ms != 0) o["modified"] = format_utc({i.finding.mtime_ms});
  if (i.finding.ctime_ms != 0) o["changed"] = format_utc({i.finding.ctime_ms});
  if (i.first_seen.ms != 0) o["first_seen"] = utc(i.first_seen);
  if (i.last_seen.ms != 0) o["last_seen"] = utc(i.last_seen);
  if (i.unseen_at.ms != 0) o["not_seen"] = utc(i.unseen_at);
  if (!i.diff.empty()) o["diff"] = i.diff;
  o["alerts"] = i.alerts;
  o["new"] = i.fresh;
  return o;
}

DriftItem drift_item_from_json(const json::object& o) {
  DriftItem i;
  i.host = get_string(o, "host");
  i.unit = get_string_or(o, "unit", "");
  i.finding.kind = get_string(o, "kind");
  i.finding.path = get_string_or(o, "path", "");
  i.finding.detail = get_string_or(o, "detail", "");
  i.finding.owner = get_string_or(o, "owner", "");
  i.finding.mtime_ms = time_of(o, "modified").ms;
  i.finding.ctime_ms = time_of(o, "changed").ms;
  i.cause = cause_of(get_string(o, "cause"));
  i.why = get_string_or(o, "why", "");
  i.expected = get_string_or(o, "expected", "");
  i.first_seen = time_of(o, "first_seen");
  i.last_seen = time_of(o, "last_seen");
  i.unseen_at = time_of(o, "not_seen");
  i.alerts = get_bool_or(o, "alerts", true);
  i.fresh = get_bool_or(o, "new", false);
  return i;
}

// A journal only grows. A shorter one, or another record under the same number, was put back or rewritten.
void DriftMemory::check_journals(const std::vector<HostScan>& scans, std::vector<DriftItem>& items) {
  for (const auto& s : scans) {
    if (!s.report) continue;
    for (const auto& u : s.report->units) {
      auto& known = journals_[{s.host->name, u.unit}];
      bool told = std::any_of(u.findings.begin(), u.findings.end(), [](const DriftFinding& f) { return f.kind == "journal"; });
      bool shorter = u.journal_seq < known.seq, other = u.journal_seq == known.seq && known.seq > 0 && u.journal_hash != known.hash;
      if (!told && (shorter || other)) {
        DriftItem item;
        item.host = s.host->name;
        item.unit = u.unit;
        item.finding.kind = "journal";
        item.finding.detail = shorter ? fmt::format("the journal had {} records, and has {} now", known.seq, u.journal_seq)
                                      : fmt::format("record {} of the journal is another one than before", known.seq);
        items.push_back(std::move(item));
      } else if (!told) {
        known = {u.journal_seq, u.journal_hash};
      }
    }
  }
}

std::vector<DriftItem> DriftMemory::take(const std::vector<HostScan>& scans, const std::vector<std::string>& units, std::vector<DriftItem>& items,
                                         Persistence p, WallTime now) {
  check_journals(scans, items);
  std::map<std::string, WallTime> before = reached_;
  std::set<std::string> answered, asked(units.begin(), units.end());
  for (const auto& s : scans)
    if (s.report) answered.insert(s.host->name), reached_[s.host->name] = now;
  auto keep = [&](std::string& marks, char mark) {
    marks += mark;
    if (marks.size() > static_cast<std::size_t>(p.n)) marks.erase(0, marks.size() - static_cast<std::size_t>(p.n));
  };
  auto enough = [&](const std::string& marks) { return std::count(marks.begin(), marks.end(), '1') >= p.k; };

  std::set<std::string> there;
  for (auto& item : items) {
    auto key = item.key();
    if (!there.insert(key).second) {  // two differences of one kind and path: they go together
      item.alerts = seen_[key].alerted;
      item.fresh = false;
      continue;
    }
    auto& s = seen_[key];
    if (s.first.ms == 0) s.first = now, s.unseen = before.contains(item.host) ? before[item.host] : WallTime{};
    s.last = now;
    keep(s.marks, '1');
    bool alerted = s.alerted;
    item.alerts = enough(s.marks);
    s.alerted = item.alerts && item.counts();
    item.fresh = item.alerts && !alerted;
    item.first_seen = s.first, item.last_seen = s.last, item.unseen_at = s.unseen;
    s.item = to_json(item);
  }
  std::vector<DriftItem> gone;
  for (auto at = seen_.begin(); at != seen_.end();) {
    auto item = drift_item_from_json(at->second.item);
    bool looked = answered.contains(item.host) && (item.unit.empty() || asked.contains(item.unit) || item.finding.kind == "foreign_unit");
    if (there.contains(at->first) || !looked) {
      ++at;
      continue;
    }
    auto& s = at->second;
    keep(s.marks, '0');
    bool still = enough(s.marks);
    if (s.alerted && !still) {
      item.last_seen = s.last, item.first_seen = s.first;
      gone.push_back(std::move(item));
      s.alerted = false;
    }
    if (s.marks.find('1') == std::string::npos) at = seen_.erase(at);
    else ++at;
  }
  return gone;
}

std::vector<DriftItem> DriftMemory::items() const {
  std::vector<DriftItem> out;
  for (const auto& [key, s] : seen_) out.push_back(drift_item_from_json(s.item));
  return out;
}

DriftMemory DriftMemory::load(const std::string& file) {
  DriftMemory m;
  auto text = read_file_if_exists(file, kMaxFile);
  if (!text) return m;
  try {
    auto o = parse_json_object(*text, "the file");
    if (get_int(o, "format") != 1) throw Error(fmt::format("it is of format {}, and this program knows 1", get_int(o, "format")));
    m.last_scan = time_of(o, "last_scan");
    m.last_full = time_of(o, "last_full");
    for (const auto& v : get_array(o, "findings")) {
      const auto& f = v.as_object();
      Seen s;
      s.item = get_object(f, "item");
      s.first = time_of(f, "first");
      s.last = time_of(f, "last");
      s.unseen = time_of(f, "unseen");
      s.marks = get_string(f, "marks");
      s.alerted = get_bool(f, "alerted");
      auto key = drift_item_from_json(s.item).key();
      m.seen_.emplace(std::move(key), std::move(s));
    }
    for (const auto& v : get_array(o, "journals")) {
      const auto& j = v.as_object();
      m.journals_[{get_string(j, "host"), get_string(j, "unit")}] = {get_int(j, "seq"), get_string(j, "hash")};
    }
    const auto& reached = get_object(o, "reached");
    for (const auto& [host, at] : reached) m.reached_[std::string(host)] = parse_utc(std::string(at.as_string()));
  } catch (const std::exception& e) {
    throw Error(fmt::format("'{}' cannot be read: {}", file, e.what()),
                "it only holds what earlier drift scans found: move it away to begin anew; nothing else needs it");
  }
  return m;
}

void DriftMemory::save(const std::string& file) const {
  json::array findings, journals;
  for (const auto& [key, s] : seen_)
    findings.push_back(json::object{{"item", s.item}, {"first", utc(s.first)}, {"last", utc(s.last)}, {"unseen", utc(s.unseen)}, {"marks", s.marks},
                                    {"alerted", s.alerted}});
  for (const auto& [of, j] : journals_) journals.push_back(json::object{{"host", of.first}, {"unit", of.second}, {"seq", j.seq}, {"hash", j.hash}});
  json::object reached;
  for (const auto& [host, at] : reached_) reached[host] = utc(at);
  json::object o{{"format", 1}, {"last_scan", utc(last_scan)}, {"last_full", utc(last_full)}, {"reached", std::move(reached)},
                 {"findings", std::move(findings)}, {"journals", std::move(journals)}};
  make_dirs(parent_dir(file));
  write_file_durable(file, json::serialize(o) + "\n");
}

}  // namespace ripcord
