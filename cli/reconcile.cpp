// reconcile: a ledger that lost entries (a standby promoted too early, an older copy restored) gets them back from the hosts.
#include <fmt/format.h>

#include <set>

#include "cli/command.hpp"
#include "cli/holder.hpp"
#include "cli/look.hpp"
#include "cli/lost.hpp"
#include "cli/target.hpp"
#include "cli/view/words.hpp"
#include "plans/ledger/host_journals.hpp"

namespace ripcord::cli {
namespace {

class Reconcile : public Command {
 public:
  void declare(Arguments& a) override {
    a.positional("UNIT", unit_, "only this unit; else every unit that the ledger or the store knows");
    a.flag("--dry-run", dry_run_, "only say what would be brought back");
    a.value("-m,--message", why_, "WHY", "the reason; it goes into the ledger");
  }

  Exit run(Context& c) override {
    std::set<std::string> units;
    if (unit_) units.insert(*unit_);
    else {
      for (auto& unit : c.store().units()) units.insert(unit);
      for (const auto& e : c.entries())
        if (get_string_or(e.body, "kind", "") == "rollout.started") units.insert(get_string_or(e.body, "unit", ""));
    }
    Exit exit = Exit::done;
    for (const auto& unit : units) exit = worst(exit, one(c, unit));
    if (!c.out().text()) c.out().print_list("units", items_);
    else if (units.empty()) c.out().note("no unit is known, so there is nothing to reconcile");
    return exit;
  }

 private:
  Exit one(Context& c, const std::string& unit) {
    std::vector<const Host*> hosts;
    for (const auto& h : c.fleet().hosts) hosts.push_back(&h);
    auto looks = look_for_unit(c, hosts, unit, Verify::none, false);
    refuse_unknown_unit(c, unit, looks);
    std::int64_t epoch = 0;
    Exit exit = Exit::done;
    std::vector<HostLook> ours;
    for (auto& l : looks) {
      if (l.look && l.look->unit.journal_seq == 0) continue;  // never had the unit
      if (l.look && !l.look->unit.ledger_id.empty() && l.look->unit.ledger_id != c.ledger().id()) {
        c.out().warn(fmt::format("{}: unit '{}' belongs to the ledger '{}' there; left alone", l.host->name, unit, escape_terminal(l.look->unit.ledger_id)));
        exit = worst(exit, Exit::held);
        continue;
      }
      if (l.look) epoch = std::max(epoch, l.look->unit.epoch);
      ours.push_back(l);
    }
    UnitRef ref{unit};
    if (auto versions = c.store().versions(unit); !versions.empty()) ref.root = load_release(c.store(), versions.back().second).manifest.spec.root;
    auto entries = c.entries();
    auto journals = c.wait(read_journals(c.loop(), c.ports(), ours, ref, imported_journals(entries, unit), kLookWidth));
    auto found = reconcile(entries, unit, journals);
    if (!dry_run_ && !found.bodies.empty()) record(c, unit, std::max(epoch, found.epoch), entries.back().seq, found);
    report(c, unit, found);
    for (const auto& line : found.lines)
      if (!line.problem.empty()) exit = worst(exit, line.problem.find("cannot be imported") != std::string::npos ? Exit::integrity : Exit::unreachable);
    return exit;
  }

  // Under the unit's lease, so that nobody decides on what is being changed, and with an epoch above all that hosts have seen: the
  // ledger may have forgotten that it gave them out.
  void record(Context& c, const std::string& unit, std::int64_t epoch, std::int64_t read_until, Reconciliation& found) {
    Lease wanted;
    wanted.scope = unit;
    wanted.holder = holder_of_this_process();
    wanted.who = c.who();
    wanted.machine = c.machine();
    wanted.why = why_.empty() ? "reconcile" : why_;
    auto& store = c.ledger().store();
    auto holder = store.lease(unit);  // in a restored copy it may be a process that ended long ago
    auto lease = store.acquire(wanted, Millis(30000), epoch, holder && holder_is_gone(holder->holder));
    if (!lease) {
      auto other = store.lease(unit);
      throw Error(fmt::format("unit '{}' is held by {}", unit, other ? other->who + " on " + other->machine : "another process"),
                  "nothing was changed; pause that rollout, or wait until its lease has run out", Exit::held);
    }
    LedgerStore::Guard guard{unit, lease->holder, lease->epoch};
    std::exception_ptr failure;
    try {
      // Somebody who wrote since has read a ledger without these entries: look again rather than import twice.
      for (const auto& e : c.ledger().read(read_until + 1))
        if (get_string_or(e.body, "unit", "") == unit) throw Error("the ledger changed meanwhile", "run reconcile again", Exit::held);
      for (auto& body : found.bodies)
        if (!why_.empty() && !body.contains("why")) body["why"] = why_;
      c.wait(c.ledger().append(found.bodies, guard));
    } catch (...) {
      failure = std::current_exception();
    }
    store.release(*lease);
    if (failure) std::rethrow_exception(failure);
  }

  void report(Context& c, const std::string& unit, const Reconciliation& found) {
    auto& out = c.out();
    std::size_t records = 0, operations = 0;
    json::array hosts;
    for (const auto& l : found.lines) {
      records += l.records;
      operations += l.operations;
      hosts.push_back(json::object{{"host", l.host}, {"records", l.records}, {"operations", l.operations}, {"problem", l.problem}});
      if (!l.problem.empty()) out.warn(fmt::format("{}: {}", l.host, escape_terminal(l.problem)));
    }
    if (!out.text()) {
      items_.push_back(json::object{{"unit", unit}, {"dry_run", dry_run_}, {"hosts", std::move(hosts)}, {"open", to_json_array(found.open)}, {"lost", lost_json(found.lost)}});
      return;
    }
    out.print(escape_terminal(fmt::format("{}: {} {} {} that the ledger did not know", unit, count_of(records, "record"),
                                          dry_run_ ? "would be brought in," : "brought in,", count_of(operations, "operation"))));
    for (const auto& lost : found.lost) out.print(escape_terminal(fmt::format("{}: {}", unit, lost_text(c, unit, lost))));
    if (!found.open.empty() && !dry_run_)
      out.note(fmt::format("`{}` asks the hosts what came of it and goes on, `{}` brings them back", c.command("resume " + unit), c.command("abort " + unit)));
  }

  std::optional<std::string> unit_;
  std::string why_;
  bool dry_run_ = false;
  json::array items_;
};

}  // namespace

std::unique_ptr<Command> make_reconcile() { return std::make_unique<Reconcile>(); }

}  // namespace ripcord::cli
