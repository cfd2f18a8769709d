// The scan itself: ledger, hosts, ledger again, judgement, memory, record.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "cli/drift.hpp"
#include "cli/look.hpp"
#include "plans/drift/drift_debt.hpp"
#include "plans/hosts/release_on_hand.hpp"

namespace ripcord::cli {
namespace {

json::array brief(const std::vector<const DriftItem*>& items) {
  json::array out;
  for (const auto* i : items) out.push_back(to_json(*i));
  return out;
}

// One entry a unit and scan, so that a bad day does not make a long ledger.
std::vector<json::object> entries_for(const std::string& kind, const std::vector<const DriftItem*>& items) {
  std::map<std::string, std::vector<const DriftItem*>> by_unit;
  for (const auto* i : items) by_unit[i->unit].push_back(i);
  std::vector<json::object> out;
  for (const auto& [unit, some] : by_unit) {
    json::object o{{"kind", kind}, {"findings", brief(some)}};
    if (!unit.empty()) o["unit"] = unit;
    out.push_back(std::move(o));
  }
  return out;
}

class Rules {
 public:
  explicit Rules(Context& c) : c_(c) {}
  std::vector<IgnoreRule> operator()(const Intent& intent) {
    if (intent.manifest.is_zero()) return {};
    auto known = rules_.find(intent.manifest);
    if (known != rules_.end()) return known->second;
    auto& rules = rules_[intent.manifest];
    try {
      rules = load_release(c_.store(), intent.manifest).manifest.spec.drift_ignore;
    } catch (const Error&) {
      c_.out().warn(fmt::format("release {} is not in the store of this machine: its ignore rules are not known here", intent.folder));
    }
    return rules;
  }

 private:
  Context& c_;
  std::map<Digest, std::vector<IgnoreRule>> rules_;
};

void record(Context& c, DriftMemory& memory, DriftScan& scan) {
  std::vector<const DriftItem*> begun, ceased;
  for (const auto& i : scan.items)
    if (i.fresh && i.counts()) begun.push_back(&i);
  for (const auto& i : scan.gone) ceased.push_back(&i);
  try {
    auto entries = entries_for("drift.found", begun);
    for (auto& e : entries_for("drift.gone", ceased)) entries.push_back(std::move(e));
    if (!entries.empty()) c.append(std::move(entries));
    memory.save(drift_memory_file(c));
  } catch (const Error& e) {
    scan.unrecorded = e.what();
  }
}

}  // namespace

std::size_t DriftScan::answered() const {
  return static_cast<std::size_t>(std::count_if(hosts.begin(), hosts.end(), [](const HostScan& h) { return h.report || !h.apart.empty(); }));
}

std::size_t DriftScan::drifted() const {
  std::set<std::string> names;
  for (const auto& i : shown)
    if (i.alerts && i.counts()) names.insert(i.host);
  return names.size();
}

std::string drift_memory_file(Context& c) { return c.fleet().folder + "/.ripcord/drift.json"; }

DriftLock::DriftLock(Context& c) {
  auto path = c.fleet().folder + "/.ripcord/drift.lock";
  make_dirs(parent_dir(path));
  fd_ = open_file(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
  if (::flock(fd_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) throw os_error("lock", path, errno);
    auto holder = read_file_if_exists(path, 4096).value_or("");
    throw Error(fmt::format("another drift scan of fleet '{}' is still running: {}", c.fleet().name, escape_terminal(trim(holder))),
                "let it end, or make scans rarer; --within bounds how long a host may take", Exit::held);
  }
  auto text = fmt::format("process {} of {} on {}, since {}\n", ::getpid(), c.who(), c.machine(), format_utc(c.now()));
  if (::ftruncate(fd_.get(), 0) != 0 || ::pwrite(fd_.get(), text.data(), text.size(), 0) < 0) throw os_error("write", path, errno);
}

DriftScan scan_for_drift(Context& c, const DriftOptions& options) {
  DriftScan scan;
  scan.at = c.now();
  scan.full = options.manners.full;
  auto begin = c.clock().elapsed();
  auto hosts = limited(c, options.limit);
  auto entries = c.entries();
  auto before = fold_intents(entries);
  for (const auto& [unit, by_host] : before)
    if (!options.unit || *options.unit == unit) scan.units.push_back(unit);
  if (options.unit && scan.units.empty())
    throw Error(fmt::format("unit '{}' was never rolled out by this ledger", escape_terminal(*options.unit)), {}, Exit::refused);
  auto memory = DriftMemory::load(drift_memory_file(c));

  scan.hosts = c.wait(scan_hosts(c.loop(), c.clock(), c.ports(), hosts, before, scan.units, options.manners));
  // What a rollout did meanwhile is in the ledger: intents are written before hosts are asked to change.
  auto more = c.ledger().read(entries.empty() ? 0 : entries.back().seq + 1);
  auto after = before;
  if (!more.empty()) {
    entries.insert(entries.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
    after = fold_intents(entries);
  }
  Rules rules(c);
  DriftInput in{&before, &after, [&](const std::string&, const Intent& intent) { return rules(intent); }, fold_accepted(entries), scan.units, c.now()};
  scan.items = judge_drift(scan.hosts, in);
  apply_debts(scan.items, scan.hosts, fold_debts(entries, c.fleet(), c.now()), scan.units);
  scan.gone = memory.take(scan.hosts, scan.units, scan.items, options.persist.value_or(Persistence::parse(c.fleet().drift_persist)), scan.at);
  scan.ways_back = ways_back(scan.hosts, after, scan.units);
  bool whole = !options.limit && !options.unit;
  if (whole) memory.last_scan = scan.at;
  if (whole && scan.full) memory.last_full = scan.at;
  scan.last_full = memory.last_full;
  scan.took = c.clock().elapsed() - begin;
  record(c, memory, scan);
  for (const auto& i : scan.items)
    if (options.show_all || (i.alerts && i.counts() && (!options.only_new || i.fresh))) scan.shown.push_back(i);
  scan.exit = drift_exit(scan.hosts, scan.shown);
  if (scan.exit == Exit::done && !scan.unrecorded.empty()) scan.exit = Exit::error;
  return scan;
}

Exit accept_drift(Context& c, const std::vector<std::string>& ids, const std::string& until, const std::string& why) {
  DriftLock lock(c);
  auto known = DriftMemory::load(drift_memory_file(c)).items();
  std::vector<json::object> entries;
  for (const auto& id : ids) {
    auto found = std::find_if(known.begin(), known.end(), [&](const DriftItem& i) { return i.id() == id; });
    if (found == known.end())
      throw Error(fmt::format("no finding '{}' is known", escape_terminal(id)),
                  fmt::format("`{}` prints findings with their ids; nothing was accepted", c.command("drift")), Exit::refused);
    json::object o{{"kind", "drift.accepted"}, {"host", found->host}, {"key", found->key()}, {"detail", found->finding.detail},
                   {"finding", to_json(*found)}, {"until", until}, {"why", why}};
    if (!found->unit.empty()) o["unit"] = found->unit;
    entries.push_back(std::move(o));
  }
  c.append(std::move(entries));
  c.out().note(fmt::format("{} accepted until {}", ids.size() == 1 ? "one finding" : fmt::format("{} findings", ids.size()), until));
  return Exit::done;
}

}  // namespace ripcord::cli
