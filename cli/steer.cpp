// pause, promote, approve, abort, retry: each records what a person wants; the process that runs the rollout hears it within
// 200 ms. With no such process, abort and retry go on in this terminal.
#include <fmt/format.h>

#include <algorithm>

#include "cli/command.hpp"
#include "cli/rollout_run.hpp"

namespace ripcord::cli {
namespace {

class Steer : public Command {
 public:
  enum class Wish { pause, promote, approve, abort, retry };
  explicit Steer(Wish wish) : wish_(wish) {}

  void declare(Arguments& a) override {
    a.positional("UNIT", unit_, "the unit that is being rolled out");
    if (wish_ == Wish::retry) a.positionals("HOST", hosts_, "only these; else all that failed or did not answer");
    a.value("-m,--message", why_, "WHY", "the reason; it goes into the ledger");
    if (runs_here()) a.flag("--no-wait", run_.no_wait, "leave at a bake, approval or window (exit 6)");
  }

  Exit run(Context& c) override {
    auto state = require_open_rollout(c, unit_);
    auto runner = runner_of(c, unit_);
    const bool alive = runner.alive(c.now());
    const auto body = wanted(c, state);
    std::vector<json::object> bodies;
    bodies.push_back(body);
    auto entries = c.append(std::move(bodies));
    for (const auto& e : entries) state.apply(e);
    auto said = describe(entries.back(), state);
    const auto what = said ? said->text : get_string(body, "kind");
    if (!alive && runs_here()) {
      c.out().note(what + "; no process runs this rollout, so it goes on here");
      return resume_rollout(c, std::move(state), why_, run_);
    }
    report(c, state, runner, alive, what, body);
    return Exit::done;
  }

 private:
  bool runs_here() const { return wish_ == Wish::abort || wish_ == Wish::retry; }

  // The entry; Error(Exit::refused) when it would mean nothing.
  json::object wanted(Context& c, const RolloutState& s) const {
    const auto& spec = s.spec();
    json::object body{{"rollout", spec.id}, {"unit", spec.unit}, {"by", "person"}, {"why", why_}};
    const int at = s.current_stage();
    const bool in_stage = at < static_cast<int>(spec.stages.size());
    const auto name = in_stage ? spec.stages[static_cast<std::size_t>(at)].name : "";
    auto refuse = [&](const std::string& what) -> Error { return Error(what, verdict(s, c.now()).text, Exit::refused); };
    switch (wish_) {
      case Wish::pause:
        if (s.rolling_back) throw refuse("a rollback is never paused");
        if (s.paused) throw refuse("it is paused already");
        body["kind"] = "rollout.paused";
        break;
      case Wish::promote:
        if (!in_stage || !s.stages()[static_cast<std::size_t>(at)].started || s.rolling_back)
          throw refuse("no stage is running that could be promoted");
        body["kind"] = "rollout.promoted";
        body["stage"] = at;
        break;
      case Wish::approve: {
        if (int once = waiting_once(s); once >= 0) {
          body["kind"] = "rollout.approved";
          body["once"] = once;
          break;
        }
        int stage = -1;  // the next that asks for it; who approves has to have seen what went before
        for (int i = at; i < static_cast<int>(spec.stages.size()) && stage < 0; ++i)
          if (spec.stages[static_cast<std::size_t>(i)].approval && !s.stages()[static_cast<std::size_t>(i)].approved &&
              !s.stages()[static_cast<std::size_t>(i)].started)
            stage = i;
        if (stage < 0 || s.rolling_back) throw refuse("no stage waits for approval");
        if (stage > at)
          throw refuse(fmt::format("stage {} asks for approval once stage {} has passed, and that has not ended yet",
                                   spec.stages[static_cast<std::size_t>(stage)].name, spec.stages[static_cast<std::size_t>(at)].name));
        body["kind"] = "rollout.approved";
        body["stage"] = stage;
        break;
      }
      case Wish::abort:
        if (s.rolling_back) throw refuse("it is going back already");
        body["kind"] = "rollout.aborted";
        break;
      case Wish::retry: {
        if (s.halted) throw refuse("it is halted, and only resume goes on");
        body["kind"] = "rollout.retried";
        body["hosts"] = waiting_once(s) >= 0 && hosts_.empty() ? json::array() : to_json_array(to_retry(s));
        break;
      }
    }
    return body;
  }

  // What was to happen once and failed, or may have failed: a person says what becomes of it. -1: nothing waits.
  static int waiting_once(const RolloutState& s) {
    for (std::size_t i = 0; i < s.once.size(); ++i)
      if (s.once[i].waits()) return static_cast<int>(i);
    return -1;
  }

  std::vector<std::string> to_retry(const RolloutState& s) const {
    std::vector<std::string> can;
    for (auto phase : {HostPhase::unreachable, HostPhase::unknown, HostPhase::failed, HostPhase::returned, HostPhase::stuck})
      for (auto& name : hosts_in(s, phase)) can.push_back(name);
    if (hosts_.empty()) {
      if (can.empty()) throw Error("no host failed or did not answer: there is nothing to retry", {}, Exit::refused);
      return can;
    }
    for (const auto& name : hosts_) {
      int i = s.index(name);
      if (i < 0) {
        std::vector<std::string> names;
        for (const auto& h : s.spec().hosts) names.push_back(h.name);
        auto near = did_you_mean(name, names);
        throw Error(fmt::format("host '{}' is not part of this rollout{}", escape_terminal(name),
                                near ? fmt::format(", did you mean '{}'?", *near) : ""),
                    {}, Exit::refused);
      }
      if (std::find(can.begin(), can.end(), name) == can.end())
        throw Error(fmt::format("host '{}' is {}: there is nothing to retry", name, to_text(s.hosts()[static_cast<std::size_t>(i)].phase)),
                    {}, Exit::refused);
    }
    return hosts_;
  }

  void report(Context& c, const RolloutState& s, const Runner& runner, bool alive, const std::string& what, const json::object& body) {
    auto& out = c.out();
    if (!out.text()) {
      json::object o = body;
      o["runner"] =
          alive ? json::value(json::object{{"who", runner.lease->who}, {"machine", runner.lease->machine}}) : json::value(nullptr);
      out.print_json(o);
    } else {
      out.print(escape_terminal(fmt::format("{} {}: {}", s.spec().unit, s.spec().version, what)));
    }
    if (alive) out.note(fmt::format("run by {}, which hears it at once", runner.text()));
    else out.note(fmt::format("recorded; no process runs this rollout: `{}` goes on", c.command("resume " + unit_)));
  }

  Wish wish_;
  std::string unit_, why_;
  std::vector<std::string> hosts_;
  RunOptions run_;
};

}  // namespace

std::unique_ptr<Command> make_pause() { return std::make_unique<Steer>(Steer::Wish::pause); }
std::unique_ptr<Command> make_promote() { return std::make_unique<Steer>(Steer::Wish::promote); }
std::unique_ptr<Command> make_approve() { return std::make_unique<Steer>(Steer::Wish::approve); }
std::unique_ptr<Command> make_abort() { return std::make_unique<Steer>(Steer::Wish::abort); }
std::unique_ptr<Command> make_retry() { return std::make_unique<Steer>(Steer::Wish::retry); }

}  // namespace ripcord::cli
