#include <fmt/format.h>

#include <algorithm>

#include "cli/command.hpp"
#include "cli/debts.hpp"
#include "cli/halted.hpp"
#include "cli/interrupts.hpp"
#include "cli/lost.hpp"
#include "cli/rollout_run.hpp"
#include "cli/view/rollout_json.hpp"
#include "cli/view/tree.hpp"
#include "plans/ledger/history.hpp"

namespace ripcord::cli {
namespace {

constexpr Millis kAlone{3000};

// Follows a rollout that another process runs, out of the ledger.
struct Watch {
  Context& c;
  RolloutState& state;
  View& view;
  bool stop = false;
  Signal woken;
  Elapsed next_look;
  std::optional<Elapsed> alone_since;
  bool alone = false;

  // No process runs it, and what it waits for is a person: nothing more would come. One that ends hands over within a moment.
  bool left_alone() {
    const auto now = c.clock().elapsed();
    if (alone || now < next_look) return alone;
    next_look = now + Millis(500);
    const auto waiting = verdict(state, c.now()).waiting;
    const bool comes_by_itself = waiting == Waiting::bake || waiting == Waiting::window;  // `resume --due`
    if (comes_by_itself || runner_of(c, state.spec().unit).alive(c.now())) return alone_since.reset(), false;
    if (!alone_since) alone_since = now;
    return alone = now - *alone_since >= kAlone;
  }

  Task<> follow() {
    auto next = state.last_seq + 1;
    while (!stop && state.ending == Ending::open && !left_alone()) {
      for (const auto& entry : c.ledger().read(next)) {
        next = entry.seq + 1;
        if (!concerns_rollout(entry.body, state.spec())) continue;
        state.apply(entry);
        view.on_entry(entry, state);
      }
      if (state.ending != Ending::open) break;
      auto until = c.clock().elapsed() + Millis(200);
      co_await woken.wait_until(c.clock(), until);
      while (!stop && !left_alone() && !c.ledger().changed_elsewhere()) {
        auto again = c.clock().elapsed() + Millis(200);
        co_await woken.wait_until(c.clock(), again);
      }
    }
  }
};

class Status : public Command {
 public:
  void declare(Arguments& a) override {
    a.positional("UNIT", unit_, "only this unit; else the newest rollout of each");
    a.flag("-w,--watch", watch_, "follow it live, until it ends, or nobody runs it and it waits for a person");
  }

  Exit run(Context& c) override {
    auto entries = c.entries();
    book_ = fold_debts(entries, c.fleet(), c.now());
    if (auto halt = halt_in_force(c))
      c.out().warn(fmt::format("fleet '{}' is {}; `{}` lifts it", c.fleet().name, halt->text(), c.command("unhalt -m WHY")));
    if (unit_) return one(c, entries, *unit_);
    std::vector<std::string> units, open;
    for (const auto& e : entries) {
      if (get_string_or(e.body, "kind", "") != "rollout.started") continue;
      auto unit = get_string_or(e.body, "unit", "");
      if (std::find(units.begin(), units.end(), unit) == units.end()) units.push_back(unit);
    }
    for (const auto& u : units)
      if (open_rollout(entries, u)) open.push_back(u);
    if (units.size() == 1) return one(c, entries, units[0]);
    if (watch_ && open.size() == 1) return one(c, entries, open[0]);
    if (watch_ && open.size() > 1) throw Error("several rollouts are open", "name one: " + join(open, ", "), Exit::usage);
    return overview(c, entries, units);
  }

 private:
  Exit overview(Context& c, const std::vector<LedgerEntry>& entries, const std::vector<std::string>& units) {
    auto& out = c.out();
    Exit exit = Exit::done;
    json::array all;
    for (const auto& unit : units) {
      auto state = newest_decision(entries, unit);
      if (!state) continue;
      settle_accounts(*state, book_);
      const auto lost = lost_rollouts(entries, unit);
      auto its = lost.empty() ? exit_for(*state) : worst(exit_for(*state), Exit::unreachable);
      exit = worst(exit, its);
      auto runner = runner_of(c, unit);
      if (!out.text()) all.push_back(rollout_json(*state, runner, its, c.now()));
      else {
        auto v = verdict(*state, c.now());
        out.print(Line().add(v.text, v.tone).render(out.style));
        for (const auto& l : lost) out.print(escape_terminal("  " + lost_text(c, unit, l)));
      }
    }
    if (!out.text()) out.print_list("rollouts", all);
    else if (units.empty()) out.print("no rollout yet");
    if (out.text())
      for (const auto& line : quarantine_lines(book_)) out.print(escape_terminal(line));
    if (units.empty())
      out.note(fmt::format("`{}` seals a release and `{}` rolls it out", c.command("seal FOLDER"), c.command("apply UNIT")));
    return exit;
  }

  Exit one(Context& c, const std::vector<LedgerEntry>& entries, const std::string& unit) {
    auto state = newest_decision(entries, unit);
    if (!state) require_open_rollout(c, unit);  // says which units there are
    const auto missed = state->owed.size();
    settle_accounts(*state, book_);
    if (watch_ && state->ending == Ending::open) return follow(c, *state);
    auto runner = runner_of(c, unit);
    const auto lost = lost_rollouts(entries, unit);
    auto exit = lost.empty() ? exit_for(*state) : worst(exit_for(*state), Exit::unreachable);
    auto& out = c.out();
    if (!out.text()) {
      auto told = rollout_json(*state, runner, exit, c.now());
      told["lost"] = lost_json(lost);
      told["debts"] = debts_json(book_.of_unit(unit));
      json::array quarantined;
      for (const auto& [host, q] : book_.quarantines) quarantined.push_back(quarantine_json(q, true));
      told["quarantined"] = std::move(quarantined);
      out.print_json(told);
      return exit;
    }
    TreeOptions options;
    options.style = out.style;
    for (const auto& line : tree_lines(*state, c.now(), options)) out.print(line);
    out.print("");
    const auto& spec = state->spec();
    auto field = [&](const char* name, const std::string& value) {
      out.print(Line().cell(name, 9, Tone::dim).add(value).render(out.style));
    };
    field("rollout", spec.id);
    field("started", fmt::format("{} by {}{}", short_time(state->began, c.now()), spec.who, spec.why.empty() ? "" : ": " + spec.why));
    if (state->ending == Ending::open) field("run by", runner.alive(c.now()) ? runner.text() : "no process");
    for (const auto& line : debt_lines(book_.of_unit(unit))) field("owed", line);
    if (state->ending == Ending::completed && missed > 0 && state->owed.empty()) field("owed", "nothing any more: the hosts that it missed were caught up, or are left alone knowingly");
    for (const auto& l : lost) field("lost", escape_terminal(lost_text(c, unit, l)));
    for (const auto& line : quarantine_lines(book_)) field("apart", line);
    print_next_steps(out, next_steps(*state, runner, c.now()));
    return exit;
  }

  Exit follow(Context& c, RolloutState& state) {
    auto view = make_view(c.out(), c.clock());
    view->show(state);
    Watch watch{c, state, *view};
    int signal = 0;
    {
      Interrupts interrupts(c.loop(), c.clock(), [&](int) {
        watch.stop = true;
        watch.woken.notify_all();
      });
      c.wait(watch.follow());
      signal = interrupts.caught();
    }
    if (!signal && state.ending == Ending::open) c.out().note("no process runs it now: nothing more comes until a person goes on with it");
    auto exit = signal ? static_cast<Exit>(128 + signal) : exit_for(state);
    view->finish(state, runner_of(c, state.spec().unit), exit, c.now());
    return exit;
  }

  std::optional<std::string> unit_;
  DebtBook book_;
  bool watch_ = false;
};

}  // namespace

std::unique_ptr<Command> make_status() { return std::make_unique<Status>(); }

}  // namespace ripcord::cli
