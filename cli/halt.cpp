// halt and unhalt: the big red switch. It needs no lease and no ledger, and nobody's permission; what it could not reach it names.
#include "plans/ledger/halt.hpp"

#include <fmt/format.h>

#include "cli/command.hpp"
#include "cli/halted.hpp"
#include "cli/ledger_aside.hpp"
#include "cli/view/words.hpp"

namespace ripcord::cli {
namespace {

constexpr std::size_t kHaltWidth = 512;       // hosts at once: most of those that are slow are silent, and cost nothing
constexpr Millis kHaltStep{5000};             // connecting, key exchange, login: each
constexpr Millis kHaltWithin{60000};          // every host together
constexpr Millis kHaltLedgerGrace{2000};      // after the hosts have answered

class HaltCommand : public Command {
 public:
  explicit HaltCommand(bool lift) : lift_(lift) {}

  void declare(Arguments& a) override { a.value("-m,--message", why_, "WHY", lift_ ? "the reason; required" : "the reason, for everybody whom it stops"); }

  Exit run(Context& c) override {
    if (lift_ && trim(why_).empty()) throw Error("unhalt needs a reason", "add -m 'why it is safe to go on'; it goes into the ledger", Exit::usage);
    const auto& fleet = c.fleet();
    const auto mark_file = halt_file(fleet);
    auto mark = read_halt_mark(mark_file);
    Halt halt{random_hex(8), c.who(), c.machine(), why_, c.now().ms};
    if (lift_ && mark) halt = mark->halt;
    // Our own flag first when halting, last when lifting: a command that dies half-way leaves the fleet halted.
    if (!lift_) note_here(c, [&] { write_halt_mark(mark_file, {halt, true}); });
    note_here(c, [&] {
      auto entry = lift_ ? unhalted_entry(halt, fleet.name, why_) : halted_entry(halt, fleet.name);
      spool_entry(c.spool_folder(), fmt::format("{}-{}", lift_ ? "unhalt" : "halt", lift_ ? random_hex(8) : halt.id), std::move(entry), c.now(), c.who());
    });
    LedgerAside ledger(fleet, c.spool_folder(), c.who(), c.machine());

    c.be_quick(kHaltStep);
    std::vector<const Host*> hosts;
    for (const auto& h : fleet.hosts) hosts.push_back(&h);
    std::function<void(const HaltLine&)> heard = [&](const HaltLine& line) {
      if (!line.acknowledged) c.out().note(fmt::format("{} {}: {}", time_of_day(c.now()), line.host->name, line.fault));
    };
    std::optional<Halt> asked;
    if (!lift_) asked = halt;
    lines_ = c.wait(halt_hosts(c.loop(), c.clock(), c.ports(), std::move(hosts), asked, kHaltWidth, kHaltWithin, heard));
    if (lift_) note_here(c, [&] {
        if (mark) write_halt_mark(mark_file, {halt, false});
      });
    auto problem = ledger.wait(kHaltLedgerGrace);
    if (!problem.empty())
      c.out().warn(fmt::format("it is not in the ledger yet: {}; it waits in {} for the next command that reaches the ledger", problem, c.spool_folder()));
    return report(c, halt, problem.empty());
  }

 private:
  // What this machine cannot write down must not keep the hosts from hearing it.
  template <class Write>
  void note_here(Context& c, Write write) {
    try {
      write();
    } catch (const Error& e) {
      here_ = false;
      c.out().warn(fmt::format("this machine's own note could not be written: {}", e.what()));
    }
  }

  Exit report(Context& c, const Halt& halt, bool in_ledger) {
    auto& out = c.out();
    std::vector<std::string> heard, lost;
    json::array not_acknowledged;
    for (const auto& l : lines_) {
      (l.acknowledged ? heard : lost).push_back(l.host->name);
      if (!l.acknowledged) not_acknowledged.push_back(json::object{{"host", l.host->name}, {"what", l.fault}, {"hint", l.hint}});
    }
    const Exit exit = lost.empty() && here_ ? Exit::done : Exit::unreachable;
    if (!out.text()) {
      out.print_json(json::object{{"kind", lift_ ? "fleet.unhalted" : "fleet.halted"},
                                  {"exit", static_cast<int>(exit)},
                                  {"fleet", c.fleet().name},
                                  {"halt", to_json(halt)},
                                  {"here", here_},
                                  {"in_ledger", in_ledger},
                                  {"acknowledged", to_json_array(heard)},
                                  {"not_acknowledged", std::move(not_acknowledged)}});
      return exit;
    }
    auto who = lost.empty() ? "every host acknowledged" : fmt::format("{} of {} acknowledged", heard.size(), count_of(lines_.size(), "host"));
    out.print(Line().add(fmt::format("fleet {} {}: {}", c.fleet().name, lift_ ? "goes on" : "halted", who), lost.empty() ? Tone::good : Tone::bad).render(out.style));
    if (!lost.empty())
      out.print(escape_terminal(fmt::format("{}: {}", lift_ ? "still halted, as far as is known" : "did not acknowledge", compress_hosts(lost))));
    if (lift_) {
      if (!lost.empty()) out.note(fmt::format("say `{}` again once they answer", c.command("unhalt -m WHY")));
      out.note(fmt::format("rollouts that were stopped go on with `{}`", c.command("resume UNIT")));
    } else {
      out.note(fmt::format("no forward activation starts{}; rollback and abort work; `{}` lifts it",
                           lost.empty() ? "" : " on the others, nor from here or where the ledger is read", c.command("unhalt -m WHY")));
    }
    return exit;
  }

  bool lift_, here_ = true;
  std::string why_;
  std::vector<HaltLine> lines_;
};

}  // namespace

std::optional<Halt> halt_in_force(Context& c) {
  auto mark = read_halt_mark(halt_file(c.fleet()));
  if (mark && mark->on) return mark->halt;
  return standing_halt(c.entries(), c.fleet().name);
}

void refuse_when_halted(Context& c) {
  if (auto halt = halt_in_force(c))
    throw Error(fmt::format("fleet '{}' is {}", c.fleet().name, halt->text()),
                fmt::format("nothing was changed; `{}` lifts it. rollback and abort work all the same", c.command("unhalt -m WHY")), Exit::held);
}

std::unique_ptr<Command> make_halt() { return std::make_unique<HaltCommand>(false); }
std::unique_ptr<Command> make_unhalt() { return std::make_unique<HaltCommand>(true); }

}  // namespace ripcord::cli
