#include "manifests/host/bring_up.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace ripcord {
namespace {

struct HungUp {};

void failed(ActivateReply& reply, const StepOutcome& outcome, const ReleaseContext* coming) {
  reply.healthy = false;
  reply.failed_step = outcome.step == "reload" ? "restart" : outcome.step;
  reply.output = outcome.output;
  if (coming) reply.log_tail = log_tails(*coming, kLogLines);
}

}  // namespace

void bring_up(const BringUp& what, const StepGate& gate, ActivateReply& reply) {
  Elapsed begin = boot_now();
  HostContext& host = gate.host();
  std::string step = "restart";
  try {
    RunningRule rule = what.rule;
    if (what.restart) {
      auto moved = switch_services(what.running, what.coming, what.manner, gate);
      reply.step_ms["restart"] = (boot_now() - begin).count();
      if (!moved.outcome.ok) return failed(reply, moved.outcome, what.coming);
      rule.restarted_all = moved.restarted_all;
    }
    host.event("restarted");
    if (!what.coming) {
      reply.healthy = true;
      return;
    }
    step = "health";
    Elapsed since = boot_now();
    auto each_round = [&] {
      gate.check();
      if (!gate.holds_lock() && host.peer_gone()) throw HungUp();
    };
    auto health = watch_health(*what.coming, rule, what.coming->spec.health, since, each_round);
    reply.step_ms["health"] = (boot_now() - since).count();
    if (!health.ok) return failed(reply, health, what.coming);
    reply.healthy = true;
    host.event("healthy");
  } catch (const OperationEnded& ended) {
    reply.state = ended.found();
    reply.healthy = false;
    reply.failed_step = step;
    reply.output = ended.what();
  } catch (const HungUp&) {
    reply.healthy = false;
    reply.failed_step = step;
    reply.output = "the controller hung up while health was watched; 'finish' goes on with it";
  }
}

RunningRule rule_of(const HostContext& host, const std::vector<JournalRecord>& records, const UnitHistory& history,
                    const ReleaseContext& current) {
  for (auto r = records.rbegin(); r != records.rend(); ++r) {
    if (r->kind != "ACTIVATED" && r->kind != "REVERTING") continue;
    RunningRule rule;
    std::int64_t us = get_int_or(r->body, "elapsed_us", 0);
    if (r->boot == host.boot_id && us > 0) rule.not_before = static_cast<std::uint64_t>(us) * ::sysconf(_SC_CLK_TCK) / 1000000;
    const Operation* op = history.find(get_string_or(r->body, "op", ""));
    if (r->kind == "ACTIVATED" && op && op->state.forward && op->state.from && op->state.to == current.release.id) {
      const auto& services = current.spec.services;
      bool gentle = std::any_of(services.begin(), services.end(), [](const Service& s) { return s.on_config_change != "restart"; });
      try {
        if (gentle && op->state.from != op->state.to)
          rule.restarted_all =
              !only_config_differs(ReleaseContext::load(host, current.unit, *op->state.from, history), current);
      } catch (const Error&) {  // the release before is gone: nothing of it can run
      }
    }
    return rule;
  }
  return {};
}

StepTurn::StepTurn(const UnitLayout& unit, Millis limit) {
  std::string path = unit.state + "/step";
  fd_.reset(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd_) throw host_os_error("open", path, errno);
  Elapsed end = boot_now() + limit;
  while (::flock(fd_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) throw host_os_error("lock", path, errno);
    if (boot_now() >= end)
      throw HostFailure("busy", fmt::format("another helper is still restarting unit '{}'; waited {}", unit.unit, format_duration(limit)),
                        "ask again: its hooks have deadlines");
    waited_ = true;
    ::usleep(10000);
  }
}

bool proven_running(const ReleaseContext& release, const RunningRule& rule) {
  return !release.spec.services.empty() && release.spec.running.by != Running::By::none && !ended_service(release) &&
         check_running(release, rule).ok;
}

}  // namespace ripcord
