#include "cli/detach.hpp"

#include <fmt/format.h>

#include <cstdlib>

#include "cli/rollout_run.hpp"
#include "core/base/files.hpp"
#include "core/base/process.hpp"
#include "core/net/ssh_key.hpp"
#include "plans/ledger/history.hpp"

namespace ripcord::cli {
namespace {

constexpr Millis kStart{20000};

// True when it has the lease; false when the process ended or did not take it in time.
Task<> wait_for_lease(Context& c, std::string unit, ProcessId process, bool* has_it, std::optional<ProcessEnd>* end) {
  for (Elapsed until = c.clock().elapsed() + kStart; c.clock().elapsed() < until;) {
    auto lease = c.ledger().store().lease(unit);
    *has_it = lease && lease->holder.find(fmt::format("-{}-{}-", process.pid, process.start)) != std::string::npos;
    *end = reap(process.pid);
    if (*has_it || *end) co_return;
    Elapsed next = c.clock().elapsed() + Millis(50);
    co_await sleep_until(c.clock(), next);
  }
}

}  // namespace

std::string session_agent(const Fleet& fleet) {
  const char* socket = std::getenv("SSH_AUTH_SOCK");
  if (fleet.link != Fleet::LinkKind::ssh || !socket || !*socket) return "";
  try {
    if (!fleet.ssh.identity.empty() && read_ssh_key_file(fleet.ssh.identity).key) return "";  // a plain file: no agent is asked
  } catch (const Error&) {
    // without its private half here it is the agent that signs
  }
  return socket;
}

Exit detach_rollout(Context& c, const std::string& unit, const std::string& rollout, bool take_over) {
  auto& out = c.out();
  if (auto agent = session_agent(c.fleet()); !agent.empty())
    out.warn(fmt::format("its credentials are those of the ssh-agent at {}, which may end with your session; then the rollout pauses, no host is "
                         "counted, and `{}` goes on",
                         agent, c.command("resume " + unit)));
  const std::string log = c.fleet().folder + "/.ripcord/logs/" + rollout + ".log";
  make_dirs(parent_dir(log));
  ripcord::Command command;  // a process, not a command of ours: compiled together with those, the name means both
  command.argv = {read_link("/proc/self/exe").value_or("ripcord"), "-f", c.fleet().file, "resume", unit};
  if (take_over) command.argv.push_back("--take-over");
  auto process = start_detached(command, log);
  bool has_it = false;
  std::optional<ProcessEnd> end;
  c.wait(wait_for_lease(c, unit, process, &has_it, &end));
  if (end) {
    auto last = read_file_if_exists(log).value_or("");
    throw Error(fmt::format("the detached process ended at once, with {}: {}", end->text(), escape_terminal(trim(last.substr(last.size() > 500 ? last.size() - 500 : 0)), true)),
                fmt::format("the rollout is in the ledger: `{}` goes on with it here; its output is in {}", c.command("resume " + unit), log),
                end->exit > 1 ? static_cast<Exit>(end->exit) : Exit::error);
  }
  if (!out.text()) {
    out.print_json(json::object{{"kind", "rollout.detached"}, {"exit", static_cast<int>(Exit::waiting)}, {"rollout", rollout}, {"unit", unit},
                                {"pid", process.pid}, {"log", log}});
    return Exit::waiting;
  }
  out.print(escape_terminal(fmt::format("rollout {} goes on without this terminal, as process {}", rollout, process.pid)));
  out.note(fmt::format("  next: {}  (follows it)\n  its output: {}", c.command("status -w " + unit), log));
  return Exit::waiting;
}

}  // namespace ripcord::cli
