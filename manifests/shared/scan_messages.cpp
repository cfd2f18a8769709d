#include "manifests/shared/scan_messages.hpp"

#include "manifests/shared/message_fields.hpp"

namespace ripcord {

static void fields(auto& f, Of<ScanRequest> auto& s) {
  f.need("units", s.units);
  f.maybe("roots", s.roots);
  f.maybe("full", s.full, false);
  f.maybe("low_priority", s.low_priority, true);
  f.maybe("max_rate", s.max_rate, 0u);
  f.maybe("threads", s.threads, 0);
}

static void fields(auto& f, Of<DriftFinding> auto& x) {
  f.need("kind", x.kind);
  f.need("path", x.path);
  f.maybe("detail", x.detail);
  f.maybe("owner", x.owner);
  f.maybe("mtime_ms", x.mtime_ms, 0);
  f.maybe("ctime_ms", x.ctime_ms, 0);
}

static void fields(auto& f, Of<UnitScan> auto& u) {
  f.need("unit", u.unit);
  f.need("current", u.current);
  f.maybe("link_target", u.link_target);
  f.maybe("intended", u.intended);
  f.maybe("running", u.running);
  f.maybe("way_back", u.way_back);
  f.maybe("back_state", u.back_state);
  f.maybe("back_ms", u.back_ms, 0);
  f.maybe("in_motion", u.in_motion, false);
  f.maybe("findings", u.findings);
  f.maybe("more", u.more, 0u);
  f.maybe("last_op", u.last_op);
  f.maybe("journal_seq", u.journal_seq, 0);
  f.maybe("journal_hash", u.journal_hash);
  f.maybe("ledger_id", u.ledger_id);
  f.maybe("files", u.files, 0u);
  f.maybe("hashed", u.hashed, 0u);
  f.maybe("hashed_bytes", u.hashed_bytes, 0u);
}

static void fields(auto& f, Of<Login> auto& l) {
  f.need("user", l.user);
  f.maybe("from", l.from);
  f.need("at_ms", l.at_ms);
}

static void fields(auto& f, Of<ScanReport> auto& r) {
  f.need("units", r.units);
  f.maybe("others", r.others);
  f.maybe("findings", r.findings);
  f.maybe("logins", r.logins);
  f.maybe("arch", r.arch);
  f.need("wall_ms", r.wall_ms);
}

// A host that sends more than it may is not believed: what it says is kept and shown.
static void check(const DriftFinding& x) {
  if (x.kind.empty() || x.kind.size() > 40) throw Error("a finding without a kind");
  if (x.path.size() > 8192 || x.detail.size() > 32768 || x.owner.size() > 256) throw Error("a finding with a text longer than any path");
}
static void check(const ScanRequest& s) {
  for (const auto& unit : s.units) check(unit);
  for (const auto& root : s.roots) check(UnitRef{"any", root});
}
static void check(const UnitScan& u) {
  if (!valid_unit_name(u.unit)) throw Error("'" + escape_terminal(u.unit.substr(0, 200)) + "' is not a unit's name");
  check(u.intended);
  check(u.running);
  check(u.way_back);
  if (u.last_op) check(*u.last_op);
  if (u.findings.size() > kMaxScanFindings) throw Error("more findings of a unit than a host may send");
  for (const auto& f : u.findings) check(f);
}
static void check(const ScanReport& r) {
  if (r.others.size() > 10000 || r.findings.size() > kMaxScanFindings || r.logins.size() > 100) throw Error("a report with more in it than a host may send");
  if (r.arch.size() > 64) throw Error("an architecture with a name that long");
  for (const auto& u : r.units) check(u);
  for (const auto& f : r.findings) check(f);
  for (const auto& o : r.others)
    if (o.unit.empty() || o.unit.size() > 255) throw Error("a unit without a name");
}

json::object to_json(const ScanRequest& v) { return written(v); }
ScanRequest scan_request_from_json(const json::object& o) { return read<ScanRequest>(o); }
json::object to_json(const ScanReport& v) { return written(v); }
ScanReport scan_report_from_json(const json::object& o) { return read<ScanReport>(o); }
json::object to_json(const DriftFinding& v) { return written(v); }
DriftFinding drift_finding_from_json(const json::object& o) { return read<DriftFinding>(o); }

}  // namespace ripcord
