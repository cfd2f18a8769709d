// A scan for monitoring: Prometheus's text format and the line of a Nagios plugin.
#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "cli/drift.hpp"
#include "cli/view/words.hpp"
#include "core/base/digest.hpp"

namespace ripcord::cli {
namespace {

// Label values: '\', '"' and line feed are escaped (exposition format 0.0.4).
std::string label(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') out += "\\n";
    else out += c;
  }
  return out;
}

class Metrics {
 public:
  explicit Metrics(const std::string& fleet) : fleet_(fmt::format("fleet=\"{}\"", label(fleet))) {}
  void gauge(const std::string& name, const char* help) {
    name_ = "ripcord_drift_" + name;
    text += fmt::format("# HELP {} {}\n# TYPE {} gauge\n", name_, help, name_);
  }
  void value(const std::string& labels, double v) { text += fmt::format("{}{{{}{}{}}} {}\n", name_, fleet_, labels.empty() ? "" : ",", labels, v); }
  std::string text;

 private:
  std::string fleet_, name_;
};

}  // namespace

std::string drift_metrics(const std::string& fleet, const DriftScan& scan) {
  Metrics m(fleet);
  std::size_t untrusted = 0;
  for (const auto& h : scan.hosts) untrusted += !h.report && h.fault_kind == LinkFault::trust;
  m.gauge("hosts", "Hosts by what the last scan found.");
  auto lost = scan.hosts.size() - scan.answered();
  m.value("state=\"clean\"", static_cast<double>(scan.answered() - scan.drifted()));
  m.value("state=\"drifted\"", static_cast<double>(scan.drifted()));
  m.value("state=\"unreachable\"", static_cast<double>(lost - untrusted));
  m.value("state=\"untrusted\"", static_cast<double>(untrusted));
  std::map<std::pair<std::string, DriftCause>, int> counts;
  for (const auto& unit : scan.units)
    for (auto cause : {DriftCause::unaudited, DriftCause::failed_install, DriftCause::away, DriftCause::pending, DriftCause::known}) counts[{unit, cause}] = 0;
  for (const auto& i : scan.items)
    if (i.alerts) ++counts[{i.unit, i.cause}];
  m.gauge("findings", "Findings that persist, by unit (empty: of the host itself) and cause.");
  for (const auto& [of, n] : counts) m.value(fmt::format("unit=\"{}\",cause=\"{}\"", label(of.first), to_text(of.second)), n);
  m.gauge("ways_back", "Hosts by whether the release that a rollback returns to is whole.");
  for (const auto& [unit, w] : scan.ways_back)
    for (auto state : kBackStates) m.value(fmt::format("unit=\"{}\",state=\"{}\"", label(unit), to_text(state)), static_cast<double>(w.count(state)));
  m.gauge("last_scan_timestamp_seconds", "When the last scan began. Alert when it is too long ago.");
  m.value("", static_cast<double>(scan.at.ms / 1000));
  if (scan.last_full.ms != 0) {
    m.gauge("last_full_scan_timestamp_seconds", "When the last scan of the whole fleet that read every byte began.");
    m.value("", static_cast<double>(scan.last_full.ms / 1000));
  }
  m.gauge("last_scan_duration_seconds", "How long the last scan took.");
  m.value("", static_cast<double>(scan.took.count()) / 1000);
  m.gauge("last_scan_exit_code", "Exit code of the last scan: 0 clean, 2 drift, 4 hosts unreachable, 9 trust.");
  m.value("", static_cast<int>(scan.exit));
  return m.text;
}

void write_textfile(const std::string& file, const std::string& text) {
  // Not durable on purpose: the collector only must never read half of it, and an fsync for each scan would buy nothing.
  auto temporary = file + ".tmp-" + random_hex(4);
  try {
    Fd fd = open_file(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644);
    if (::fchmod(fd.get(), 0644) != 0) throw os_error("set the mode of", temporary, errno);
    write_all(fd.get(), text, temporary);
    if (::rename(temporary.c_str(), file.c_str()) != 0) throw os_error("rename into place", file, errno);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
}

std::string nagios_line(const DriftScan& scan, int& code) {
  auto lost = scan.hosts.size() - scan.answered();
  code = scan.exit == Exit::done ? 0 : scan.exit == Exit::unreachable && scan.drifted() == 0 ? 1 : 2;
  const char* word = code == 0 ? "OK" : code == 1 ? "WARNING" : "CRITICAL";
  std::string says = fmt::format("{} of {} differ", scan.drifted(), count_of(scan.hosts.size(), "host"));
  if (lost > 0) says += fmt::format(", {} did not answer", lost);
  if (code == 2)
    for (const auto& i : scan.shown)
      if (i.alerts && i.counts()) {
        says += fmt::format("; first: {} {} {} {}", i.host, i.unit, i.finding.kind, i.finding.path);
        break;
      }
  for (char& c : says)
    if (c == '|') c = '/';  // what follows a bar is performance data
  return fmt::format("DRIFT {} - {} | hosts={} drifted={} unreachable={} findings={} time={:.3f}s", word, escape_terminal(says), scan.hosts.size(),
                     scan.drifted(), lost, scan.shown.size(), static_cast<double>(scan.took.count()) / 1000);
}

}  // namespace ripcord::cli
