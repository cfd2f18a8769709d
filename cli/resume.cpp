#include <fmt/format.h>

#include <set>

#include "cli/command.hpp"
#include "cli/halted.hpp"
#include "cli/rollout_run.hpp"
#include "plans/ledger/history.hpp"

namespace ripcord::cli {
namespace {

class Resume : public Command {
 public:
  void declare(Arguments& a) override {
    a.positional("UNIT", unit_, "the unit; with --due it may be left out");
    a.flag("--due", due_, "every rollout that can go on by itself, without waiting (for a timer)");
    a.value("-m,--message", why_, "WHY", "the reason; it goes into the ledger");
    a.flag("--no-wait", run_.no_wait, "leave at a bake, approval or window (exit 6)");
    a.flag("--detach", run_.detach, "in a process of its own that needs no terminal (exit 6); `status -w` follows it");
    a.flag("--take-over", run_.take_over, "also when another process still holds the lease: it is fenced off");
  }

  Exit run(Context& c) override {
    if (due_) return all_due(c);
    if (!unit_) throw Error("UNIT is missing", "`" + c.command("status") + "` names the unit that is being rolled out", Exit::usage);
    auto state = require_open_rollout(c, *unit_);
    if (!state.rolling_back && !state.aborted) refuse_when_halted(c);
    auto runner = runner_of(c, *unit_);
    if (!runner.alive(c.now()) || run_.take_over) return resume_rollout(c, std::move(state), why_, run_);
    if (!state.paused)
      throw Error(fmt::format("it is running: {} has it", runner.text()),
                  fmt::format("`{}` follows it; if that machine is lost, its lease runs out at {}, and --take-over does not wait for that",
                              c.command("status -w " + *unit_), time_of_day(WallTime{runner.lease->expires_ms})),
                  Exit::held);
    std::vector<json::object> bodies;
    bodies.push_back(
        {{"kind", "rollout.resumed"}, {"rollout", state.spec().id}, {"unit", state.spec().unit}, {"by", "person"}, {"why", why_}});
    auto entries = c.append(std::move(bodies));
    if (c.out().text()) c.out().print(escape_terminal(fmt::format("{} {}: resumed", state.spec().unit, state.spec().version)));
    else c.out().print_json(entries.back().body);
    c.out().note(fmt::format("run by {}, which hears it at once", runner.text()));
    return Exit::done;
  }

 private:
  // Those that a person paused, or that wait for approval, are a person's business; one whose process is alive is its business.
  Exit all_due(Context& c) {
    auto entries = c.entries();
    std::set<std::string> units;
    for (const auto& e : entries)
      if (get_string_or(e.body, "kind", "") == "rollout.started") units.insert(get_string_or(e.body, "unit", ""));
    Exit exit = Exit::done;
    run_.no_wait = true;
    for (const auto& unit : units) {
      if (unit.empty() || (unit_ && unit != *unit_)) continue;
      auto state = open_rollout(entries, unit);
      if (!state) continue;
      auto v = verdict(*state, c.now());
      if (runner_of(c, unit).alive(c.now()) || v.waiting == Waiting::paused || v.waiting == Waiting::approval ||
          v.waiting == Waiting::halted) {
        c.out().note(v.text);
        exit = worst(exit, Exit::waiting);
        continue;
      }
      exit = worst(exit, resume_rollout(c, std::move(*state), why_.empty() ? "due" : why_, run_));
    }
    return exit;
  }

  std::optional<std::string> unit_;
  std::string why_;
  bool due_ = false;
  RunOptions run_;
};

}  // namespace

std::unique_ptr<Command> make_resume() { return std::make_unique<Resume>(); }

}  // namespace ripcord::cli
