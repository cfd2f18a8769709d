#include "manifests/host/observe.hpp"

#include <fmt/format.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <map>

#include "core/base/files.hpp"
#include "manifests/host/activation.hpp"
#include "manifests/host/drain.hpp"
#include "manifests/host/halt.hpp"
#include "manifests/host/history.hpp"
#include "manifests/host/release_folder.hpp"
#include "manifests/host/return_path.hpp"

namespace ripcord {
namespace {

// The helper lies in a folder named by its digest; hashing four megabytes at each session would cost more than the session.
std::string program_digest(const std::string& program) {
  auto folder = parent_dir(program);
  auto name = folder.substr(folder.rfind('/') + 1);
  if (Digest::parse(name)) return name;
  return program.empty() ? std::string() : sha256(read_file(program, 256u << 20)).hex();
}

std::string user_name() {
  if (::geteuid() == 0) return "root";
  for (const char* variable : {"USER", "LOGNAME"})
    if (const char* name = std::getenv(variable); name && *name) return name;
  return std::to_string(::geteuid());
}

void look_at_tree(const UnitLayout& unit, const ReleaseId& id, Verify verify, Observation& o) {
  o.tree_state = "unverified";
  if (verify == Verify::none) return;
  try {
    auto result = verify_release(unit, require_release(unit, id), verify);
    o.tree_state = result.clean() ? "verified" : "damaged";
    o.findings = std::move(result.findings);
    if (result.more > 0 && !o.findings.empty()) o.findings.back().detail += fmt::format(" (and {} more findings)", result.more);
  } catch (const HostFailure& e) {
    o.tree_state = "damaged";
    o.findings.push_back({"unreadable", ".", e.what()});
  }
}

void look_at_space(const UnitLayout& unit, Observation& o) {
  auto path = unit.releases;
  while (!exists(path) && path != "/") path = parent_dir(path);
  struct statvfs fs {};
  if (::statvfs(path.c_str(), &fs) != 0) return;
  o.free_bytes = fs.f_bavail * (fs.f_frsize ? fs.f_frsize : fs.f_bsize);
  o.free_inodes = fs.f_files > 0 ? fs.f_favail : ~std::uint64_t{0} >> 1;  // no fixed number of inodes: as many as one likes
}

std::uint64_t bytes_of(const std::vector<JournalRecord>& records, const std::vector<ReleaseId>& releases) {
  std::map<std::string, std::uint64_t> bytes;
  for (const auto& r : records)
    if (auto release = r.kind == "STAGED" ? optional_release(r.body, "release") : std::nullopt)
      bytes[release->folder()] = static_cast<std::uint64_t>(std::max<std::int64_t>(0, get_int_or(r.body, "bytes", 0)));
  std::uint64_t sum = 0;
  for (const auto& id : releases) sum += bytes[id.folder()];
  return sum;
}

}  // namespace

HelloReply hello(const HostContext& host, const std::string& deadman) {
  HelloReply h;
  h.features = {"stage", "activate", "fetch", "journal", "halt", "scan", "alive"};
  h.host_id = host.host_id();
  h.boot_id = host.boot_id;
  h.arch = host.arch;
  h.user = user_name();
  h.program = program_digest(host.program);
  h.wall_ms = host.wall().ms;
  h.deadman = deadman;
  h.halted = halt_flag(host);
  h.trust = host.layout.trust_file() ? "required" : "none";
  return h;
}

Observation observe(HostContext& host, const UnitRef& ref, Verify verify, bool process, const std::optional<LookBack>& back) {
  auto unit = host.layout.unit(ref);
  Observation o;
  Journal journal(unit);
  auto history = fold(journal.records());
  auto current = read_current(unit);
  o.current = current.kind;
  o.running = current.release;
  o.link_target = current.target;
  o.tree_state = "unverified";
  if (current.release) look_at_tree(unit, *current.release, verify, o);
  o.way_back = history.way_back(current.release);
  o.releases = releases_on_host(unit);
  if (const auto* last = history.newest()) o.last_op = state_of(*last, host);
  if (const auto* forward = history.newest_forward()) o.last_forward = state_of(*forward, host);
  o.drained = !history.open() && is_drained(unit) && !drainer_is_alive(host, unit);
  o.epoch = history.epoch;
  o.holder = history.holder;
  o.ledger_id = history.ledger_id;
  o.journal_seq = journal.seq();
  o.journal_hash = journal.head_hash();
  if (process && current.release) {
    auto round = health_round(host, ref);
    o.process_ok = round.healthy;
    o.process_detail = round.detail;
  }
  if (back) look_back(unit, journal.records(), history, current, back->how, back->version, o);
  look_at_space(unit, o);
  o.release_bytes = bytes_of(journal.records(), o.releases);
  return o;
}

std::vector<std::string> journal_lines(const HostContext& host, const UnitRef& ref, std::int64_t after) {
  constexpr std::size_t kMost = 1000;
  Journal journal(host.layout.unit(ref));
  std::vector<std::string> lines;
  for (const auto& record : journal.records()) {
    if (record.seq <= after) continue;
    if (lines.size() == kMost) break;
    lines.push_back(record.line);
  }
  return lines;
}

}  // namespace ripcord
