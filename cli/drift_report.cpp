// A scan in words, and as JSON.
#include <fmt/format.h>

#include <algorithm>

#include "cli/drift.hpp"
#include "cli/view/words.hpp"

namespace ripcord::cli {
namespace {

std::string cause_words(const DriftItem& i) {
  std::string words;
  switch (i.cause) {
    case DriftCause::unaudited: words = "unaudited change"; break;
    case DriftCause::failed_install: words = "failed install"; break;
    case DriftCause::away: words = "owed"; break;
    case DriftCause::pending: words = "in progress"; break;
    case DriftCause::known: words = "known"; break;
  }
  return i.why.empty() ? words : words + ": " + i.why;
}

// Since when, and what the host tells about who it was.
std::string traces(const DriftItem& i, const DriftScan& scan) {
  std::vector<std::string> parts;
  auto time = [&](std::int64_t ms) { return short_time({ms}, scan.at); };
  if (i.first_seen.ms != 0)
    parts.push_back(i.first_seen < scan.at ? "first seen " + time(i.first_seen.ms) + (i.unseen_at.ms ? ", not there " + time(i.unseen_at.ms) : "")
                    : i.unseen_at.ms       ? "new since the scan of " + time(i.unseen_at.ms)
                                           : "");
  if (parts.back().empty()) parts.pop_back();
  const auto& f = i.finding;
  if (!f.owner.empty()) parts.push_back("owner " + f.owner);
  if (f.ctime_ms != 0) parts.push_back("changed " + time(f.ctime_ms));
  for (const auto& s : scan.hosts) {
    if (s.host->name != i.host || !s.report || f.ctime_ms == 0) continue;
    int told = 0;
    for (const auto& l : s.report->logins) {
      constexpr std::int64_t kDay = 24 * 3600 * 1000;
      if (l.at_ms > f.ctime_ms || l.at_ms < f.ctime_ms - kDay || ++told > 3) continue;
      parts.push_back(fmt::format("{} logged in {}{}", l.user, time(l.at_ms), l.from.empty() ? "" : " from " + l.from));
    }
  }
  return join(parts, ", ");
}

void say_host(Context& c, const DriftScan& scan, const HostScan& host) {
  auto& out = c.out();
  auto say = [&](const Line& line) { out.print(line.render(out.style)); };
  Line head;
  head.add(host.host->name, Tone::bold).add(" (" + host.host->datacenter + ")");
  if (!host.report && !host.apart.empty()) return;
  if (!host.report) {
    head.add("  " + host.fault_name + ": " + host.fault, host.fault_kind == LinkFault::trust ? Tone::bad : Tone::warn);
    say(head);
    if (!host.hint.empty()) say(Line().add("  " + host.hint, Tone::dim));
    return;
  }
  bool named = false;
  for (const auto& i : scan.shown) {
    if (i.host != host.host->name) continue;
    if (!named) say(head);
    named = true;
    auto what = i.finding.path.empty() ? i.finding.detail : i.finding.detail.empty() ? i.finding.path : i.finding.path + "  " + i.finding.detail;
    Line line;
    line.add("  ").cell(i.id(), 10, Tone::dim).cell(i.unit.empty() ? "host" : i.unit, 14).cell(i.finding.kind, 15, i.counts() ? Tone::bad : Tone::dim);
    say(line.add(what));
    auto more = traces(i, scan);
    auto details = split(i.diff, '\n');
    if (!details.empty() && details.back().empty()) details.pop_back();
    for (const auto& text : details)
      say(Line().add("            " + text, text.starts_with('-') ? Tone::bad : text.starts_with('+') ? Tone::good : Tone::dim));
    say(Line().add("            " + cause_words(i) + (more.empty() ? "" : "; " + more), i.counts() ? Tone::warn : Tone::dim));
  }
}

void say_ways_back(Context& c, const DriftScan& scan) {
  for (const auto& [unit, ways] : scan.ways_back)
    if (ways.of > 0) c.out().print(Line().add(unit + ": " + ways.text(), ways.ready < ways.of ? Tone::warn : Tone::dim).render(c.out().style));
}

json::object ways_back_json(const DriftScan& scan) {
  json::object out;
  for (const auto& [unit, w] : scan.ways_back) {
    json::object to;
    for (const auto& [version, hosts] : w.to) to[version] = hosts;
    json::object counts{{"of", w.of}, {"to", std::move(to)}, {"takes_ms", w.takes.count()}};
    for (auto state : kBackStates) counts[to_text(state)] = w.count(state);
    out[unit] = std::move(counts);
  }
  return out;
}

void say_text(Context& c, const DriftScan& scan) {
  auto& out = c.out();
  auto lost = scan.hosts.size() - scan.answered();
  if (scan.shown.empty() && lost == 0 && scan.gone.empty()) {
    // Cron mails whatever is printed: only a person at a terminal is told that all is well.
    if (out.out_tty()) say_ways_back(c, scan);
    if (out.out_tty()) out.print(fmt::format("clean: {}, {}", count_of(scan.hosts.size(), "host"), count_of(scan.units.size(), "unit")));
    return;
  }
  std::string head = fmt::format("{} of {} differ{} from what the ledger says", scan.drifted(), count_of(scan.hosts.size(), "host"), scan.drifted() == 1 ? "s" : "");
  if (lost > 0) head += fmt::format(", {} did not answer", lost);
  out.print(Line().add(fmt::format("{} ({} scan of {})", head, scan.full ? "full" : "incremental", local_time(format_utc(scan.at))), Tone::bold).render(out.style));
  for (const auto& host : scan.hosts) say_host(c, scan, host);
  say_ways_back(c, scan);
  for (const auto& i : scan.gone)
    out.print(Line().add(fmt::format("gone again: {} {} {} {}", i.host, i.unit, i.finding.kind, i.finding.path), Tone::good).render(out.style));
}

json::object host_json(const HostScan& h, const DriftScan& scan) {
  json::object o{{"host", h.host->name}, {"datacenter", h.host->datacenter}};
  auto counts = std::any_of(scan.shown.begin(), scan.shown.end(), [&](const DriftItem& i) { return i.host == h.host->name && i.alerts && i.counts(); });
  if (!h.apart.empty()) o["quarantine"] = h.apart;
  o["state"] = !h.report && !h.apart.empty() ? "quarantined" : !h.report ? (h.fault_kind == LinkFault::trust ? "untrusted" : "unreachable") : counts ? "drifted" : "clean";
  if (!h.report) o["error"] = json::object{{"name", h.fault_name}, {"what", h.fault}, {"hint", h.hint}};
  if (!h.report) return o;
  json::array logins;
  for (const auto& l : h.report->logins) logins.push_back(json::object{{"user", l.user}, {"from", l.from}, {"at", format_utc({l.at_ms})}});
  if (!logins.empty()) o["logins"] = std::move(logins);
  return o;
}

}  // namespace

void report_drift(Context& c, const DriftScan& scan, const DriftOptions&) {
  auto& out = c.out();
  if (!scan.unrecorded.empty()) out.warn("the scan could not be recorded: " + scan.unrecorded);
  if (out.text()) return say_text(c, scan);
  json::array hosts, findings, gone;
  for (const auto& h : scan.hosts) hosts.push_back(host_json(h, scan));
  for (const auto& i : scan.shown) findings.push_back(to_json(i));
  for (const auto& i : scan.gone) gone.push_back(to_json(i));
  json::object end{{"kind", "drift.end"}, {"exit", static_cast<int>(scan.exit)}, {"at", format_utc(scan.at)}, {"mode", scan.full ? "full" : "incremental"},
                   {"units", to_json_array(scan.units)}, {"hosts", scan.hosts.size()}, {"drifted", scan.drifted()},
                   {"unreachable", scan.hosts.size() - scan.answered()}, {"ways_back", ways_back_json(scan)}};
  if (out.format == Format::jsonl) {
    auto each = [&](const char* kind, const json::array& items) {
      for (const auto& item : items) {
        json::object o{{"kind", kind}};
        for (const auto& [key, value] : item.as_object()) o[key == "kind" ? "finding" : std::string(key)] = value;
        out.print_json(o);
      }
    };
    each("drift.host", hosts);
    each("drift.finding", findings);
    each("drift.gone", gone);
    return out.print_json(end);
  }
  end.erase("kind");
  end["hosts"] = std::move(hosts);
  end["findings"] = std::move(findings);
  end["gone"] = std::move(gone);
  out.print_json(end);
}

}  // namespace ripcord::cli
