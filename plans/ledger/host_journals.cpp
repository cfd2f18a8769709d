#include "plans/ledger/host_journals.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "plans/ledger/history.hpp"

namespace ripcord {
namespace {

constexpr std::size_t kRecordsOfAnEntry = 500;

std::string kind_of(const LedgerEntry& e) { return get_string_or(e.body, "kind", ""); }

struct Intent {
  std::string op, rollout;
  bool forward = true;
  json::value from, to;
  std::int64_t epoch = 0, at_ms = 0;
};

std::string folder_of(const json::value& release) {
  return release.is_object() ? release_id_from_json(release.as_object()).folder() : "nothing";
}

Intent intent_of(const json::object& record) {
  Intent i;
  i.op = get_string(record, "op");
  i.rollout = get_string_or(record, "rollout", "");
  i.forward = get_bool(record, "forward");
  if (const auto* from = record.if_contains("from")) i.from = *from;
  if (const auto* to = record.if_contains("to")) i.to = *to;
  i.epoch = get_int(record, "epoch");
  i.at_ms = parse_utc(get_string(record, "at")).ms;
  return i;
}

// Operations of the unit that the ledger has: those it intended, and those it has imported.
std::set<std::string> known_operations(const std::vector<LedgerEntry>& entries, const std::string& unit) {
  std::set<std::string> known;
  for (const auto& e : entries) {
    if (get_string_or(e.body, "unit", "") != unit) continue;
    known.insert(get_string_or(e.body, "op", ""));
    if (kind_of(e) != "host.journal") continue;
    for (const auto& line : get_strings_or_empty(e.body, "records")) {
      auto record = parse_json_object(line, "a host's record");
      if (get_string_or(record, "kind", "") == "INTENT") known.insert(get_string_or(record, "op", ""));
    }
  }
  return known;
}

// The lines behind what was imported, checked: sequence and hashes follow from there. Error names what does not.
std::vector<json::object> new_records(const HostJournal& journal, const ImportedJournal& imported, std::vector<std::string>& lines) {
  std::vector<json::object> records;
  std::int64_t seq = 0;
  std::string prev;
  for (const auto& line : journal.lines) {
    auto record = parse_json_object(line, "a record");
    auto at = get_int(record, "seq");
    auto hash = sha256(line).hex();
    if (at == imported.seq && hash != imported.hash) throw Error(fmt::format("record {} is not the one that was imported before", at));
    if (at > imported.seq) {
      if (seq != 0 ? at != seq + 1 || get_string(record, "prev") != prev : at != imported.seq + 1)
        throw Error(fmt::format("record {} does not follow from the one before", at));
      records.push_back(std::move(record));
      lines.push_back(line);
    }
    seq = at;
    prev = hash;
  }
  if (imported.seq > 0 && (journal.lines.empty() || seq < imported.seq))
    throw Error(fmt::format("it ends before record {}, which was imported before", imported.seq));
  return records;
}

Task<> read_one(HostPorts& ports, const HostLook& look, HostJournal& out, UnitRef unit, std::int64_t after, Slots& slots) {
  auto slot = co_await slots.acquire();
  try {
    while (true) {
      json::object request{{"do", "journal"}, {"unit", unit.unit}, {"root", unit.root}, {"after", after}};
      json::object reply = co_await ports.port(look.host->name).ask(std::move(request), Millis(60000));
      auto some = get_strings(reply, "records");
      if (some.empty()) co_return;
      auto last = get_int(parse_json_object(some.back(), "a record"), "seq");
      if (last <= after) throw Error("its records do not go on");
      after = last;
      out.lines.insert(out.lines.end(), some.begin(), some.end());
    }
  } catch (const Error& e) {
    out.fault = e.what();
    out.lines.clear();
  }
}

}  // namespace

// By host: under which epoch it was adopted. What it did before is another ledger's to know.
static std::map<std::string, std::int64_t> adoptions(const std::vector<LedgerEntry>& entries, const std::string& unit) {
  std::map<std::string, std::int64_t> epochs;
  for (const auto& e : entries)
    if (kind_of(e) == "unit.adopted" && get_string_or(e.body, "unit", "") == unit)
      for (const auto& host : get_strings_or_empty(e.body, "hosts")) epochs[host] = get_int_or(e.body, "epoch", 0);
  return epochs;
}

std::vector<LostOperation> lost_operations(const std::vector<LedgerEntry>& entries, const std::vector<HostLook>& looks, const std::string& unit,
                                           const std::string& ledger_id) {
  std::vector<LostOperation> lost;
  std::optional<std::set<std::string>> known;
  const auto adopted = adoptions(entries, unit);
  for (const auto& l : looks) {
    // A host whose unit belongs to another ledger is a question of its own.
    if (!l.look || l.look->unit.ledger_id != ledger_id) continue;
    for (const auto& op : {l.look->unit.last_forward, l.look->unit.last_op}) {
      // A rip cord needs no ledger, and may still be in a spool somewhere.
      if (!op || op->rollout.starts_with("rb-") || (!lost.empty() && lost.back().op == op->op)) continue;
      if (auto at = adopted.find(l.host->name); at != adopted.end() && op->epoch < at->second) continue;
      if (!known) known = known_operations(entries, unit);
      if (!known->contains(op->op)) lost.push_back({l.host->name, op->op, op->rollout, op->at_ms, op->epoch});
    }
  }
  return lost;
}

std::vector<LostOperation> unknown_cords(const std::vector<LedgerEntry>& entries, const std::vector<HostLook>& looks, const RolloutState& state) {
  std::vector<LostOperation> found;
  for (const auto& l : looks) {
    if (!l.look || !l.look->unit.last_op) continue;
    const auto& op = *l.look->unit.last_op;
    if (!op.rollout.starts_with("rb-") || op.at_ms < state.began.ms) continue;
    bool known = std::any_of(entries.begin(), entries.end(), [&](const LedgerEntry& e) { return get_string_or(e.body, "rollback", "") == op.rollout; });
    if (!known) found.push_back({l.host->name, op.op, op.rollout, op.at_ms, op.epoch});
  }
  return found;
}

std::string to_text(const std::vector<LostOperation>& lost) {
  if (lost.empty()) return "";
  const auto& first = lost[0];
  std::set<std::string> hosts;
  for (const auto& l : lost) hosts.insert(l.host);
  return fmt::format("the ledger has lost entries: host '{}' did operation {} of rollout {} at {}, and the ledger does not know it{}; another database "
                     "server was promoted, or an older copy restored",
                     first.host, escape_terminal(first.op), escape_terminal(first.rollout), format_utc({first.at_ms}),
                     hosts.size() > 1 ? fmt::format(" ({} hosts in all)", hosts.size()) : "");
}

std::map<std::string, ImportedJournal> imported_journals(const std::vector<LedgerEntry>& entries, const std::string& unit) {
  std::map<std::string, ImportedJournal> imported;
  for (const auto& e : entries) {
    if (kind_of(e) != "host.journal" || get_string_or(e.body, "unit", "") != unit) continue;
    auto& newest = imported[get_string(e.body, "host_id")];
    if (get_int(e.body, "last") > newest.seq) newest = {get_int(e.body, "last"), get_string(e.body, "hash")};
  }
  return imported;
}

Task<std::vector<HostJournal>> read_journals(Loop& loop, HostPorts& ports, std::vector<HostLook> looks, UnitRef unit,
                                             std::map<std::string, ImportedJournal> imported, std::size_t width) {
  std::vector<HostJournal> journals(looks.size());
  Slots slots(width);
  TaskGroup group(loop);
  for (std::size_t i = 0; i < looks.size(); ++i) {
    journals[i].host = looks[i].host->name;
    if (!looks[i].look) {
      journals[i].fault = looks[i].fault;
      continue;
    }
    journals[i].host_id = looks[i].look->hello.host_id;
    auto from = imported.find(journals[i].host_id);
    group.spawn(read_one(ports, looks[i], journals[i], unit, from == imported.end() ? 0 : from->second.seq - 1, slots));
  }
  co_await group.join();
  co_return journals;
}

Reconciliation reconcile(const std::vector<LedgerEntry>& entries, const std::string& unit, const std::vector<HostJournal>& journals) {
  Reconciliation out;
  const auto imported = imported_journals(entries, unit);
  const auto known = known_operations(entries, unit);
  const auto open = open_rollout(entries, unit);
  std::set<std::string> ids;
  for (const auto& id : rollouts(entries, unit)) ids.insert(id);
  struct Lost {
    std::set<std::string> hosts;
    std::string version;
  };
  std::map<std::string, Lost> lost;  // by rollout
  std::vector<json::object> intents;
  std::string going_back;
  for (const auto& journal : journals) {
    auto& line = out.lines.emplace_back();
    line.host = journal.host;
    line.problem = journal.fault;
    if (!journal.fault.empty()) continue;
    std::vector<std::string> lines;
    std::vector<json::object> records;
    try {
      auto before = imported.find(journal.host_id);
      records = new_records(journal, before == imported.end() ? ImportedJournal{} : before->second, lines);
      for (const auto& record : records) {
        auto kind = get_string(record, "kind");
        if (kind == "FENCE" || kind == "INTENT") out.epoch = std::max(out.epoch, get_int(record, "epoch"));
        if (kind != "INTENT") continue;
        auto intent = intent_of(record);
        if (known.contains(intent.op) || intent.rollout.starts_with("rb-")) continue;
        ++line.operations;
        if (!ids.contains(intent.rollout)) {
          auto& one = lost[intent.rollout];
          one.hosts.insert(journal.host);
          if (intent.forward && intent.to.is_object()) one.version = release_id_from_json(intent.to.as_object()).version;
          continue;
        }
        if (!open || open->spec().id != intent.rollout || open->index(journal.host) < 0) continue;
        if (!intent.forward) going_back = journal.host;
        intents.push_back({{"kind", "host.intent"}, {"rollout", intent.rollout}, {"unit", unit}, {"host", journal.host}, {"op", intent.op},
                           {"forward", intent.forward}, {"from", folder_of(intent.from)}, {"to", folder_of(intent.to)}, {"epoch", intent.epoch},
                           {"reconciled", true}});
      }
    } catch (const Error& e) {
      line.problem = fmt::format("its journal cannot be imported: {}", e.what());
      continue;
    }
    line.records = records.size();
    for (std::size_t at = 0; at < lines.size(); at += kRecordsOfAnEntry) {
      auto end = std::min(lines.size(), at + kRecordsOfAnEntry);
      std::vector<std::string> part(lines.begin() + static_cast<std::ptrdiff_t>(at), lines.begin() + static_cast<std::ptrdiff_t>(end));
      out.bodies.push_back({{"kind", "host.journal"}, {"unit", unit}, {"host", journal.host}, {"host_id", journal.host_id},
                            {"first", get_int(records[at], "seq")}, {"last", get_int(records[end - 1], "seq")}, {"hash", sha256(part.back()).hex()},
                            {"records", to_json_array(part)}});
    }
  }
  if (!intents.empty()) {
    out.open.push_back(open->spec().id);
    // What the lost entries decided is not known. Going back is never undone; everything else waits for a person.
    if (!going_back.empty() && !open->rolling_back)
      out.bodies.push_back({{"kind", "rollout.rolling_back"}, {"rollout", open->spec().id}, {"unit", unit},
                            {"why", fmt::format("the journal of {} says that it was going back when the ledger lost entries", going_back)}});
    else if (!open->rolling_back && !open->paused)
      out.bodies.push_back({{"kind", "rollout.paused"}, {"rollout", open->spec().id}, {"unit", unit}, {"by", "person"},
                            {"why", fmt::format("the ledger had lost {} operations of it", intents.size())}});
    for (auto& intent : intents) out.bodies.push_back(std::move(intent));
  }
  for (const auto& [rollout, one] : lost) {
    const std::vector<std::string> hosts(one.hosts.begin(), one.hosts.end());
    out.lost.push_back({rollout, one.version, hosts});
    out.bodies.push_back({{"kind", "rollout.lost"}, {"unit", unit}, {"rollout", rollout}, {"version", one.version},
                          {"hosts", to_json_array(hosts)}, {"why", "hosts did operations of it, and the ledger had lost its beginning"}});
  }
  return out;
}

}  // namespace ripcord
