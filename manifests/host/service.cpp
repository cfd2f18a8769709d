#include "manifests/host/service.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "manifests/host/service_record.hpp"

namespace ripcord {
namespace {

constexpr Millis kKillWait{5000};
constexpr Millis kSystemctl{30000};
constexpr std::int64_t kMaxLog = 64 << 20;

bool wait_gone(const ProcessId& id, Millis limit) {
  Elapsed end = boot_now() + limit;
  for (unsigned pause_us = 1000;; pause_us = std::min(pause_us * 2, 50000u)) {
    reap(id.pid);
    if (!group_is_alive(id.pid)) return true;
    if (boot_now() >= end) return false;
    ::usleep(pause_us);
  }
}

StepOutcome stop_run(const ReleaseContext& release, const Service& service, const StepGate& gate) {
  std::optional<ProcessId> process;
  // Read and signalled under the lock: a moment later the note may name the process of the release we were reverted to.
  gate.note([&] {
    process = noted_process(release.unit, service.name, release.boot_id);
    if (process) signal_group(process->pid, SIGTERM);
  });
  if (!process) return {true, "stop", ""};
  if (!wait_gone(*process, service.stop_deadline)) {
    signal_group(process->pid, SIGKILL, true);
    if (!wait_gone(*process, kKillWait))
      return StepOutcome::failed("stop", fmt::format("service '{}': process {} is still there {} after SIGKILL", service.name, process->pid,
                                                     format_duration(kKillWait)));
  }
  return {true, "stop", ""};
}

void keep_log_small(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) == 0 && S_ISREG(st.st_mode) && st.st_size > kMaxLog) ::rename(path.c_str(), (path + ".1").c_str());
}

StepOutcome start_run(const ReleaseContext& release, const Service& service, const StepGate& gate) {
  try {
    Command c = release.command_as_owner(release.argv(service.run, "run of service '" + service.name + "'"));
    c.before_exec = [&](const ProcessId& id) {
      gate.note([&] { note_process(release.unit, service.name, release.boot_id, id, release.release.id.folder()); });
    };
    std::string log = log_file(release, service);
    if (service.log.empty()) make_dirs(parent_dir(log));
    keep_log_small(log);
    start_detached(c, log);
    return {true, "start", ""};
  } catch (const OperationEnded&) {
    throw;
  } catch (const HostFailure& e) {
    if (e.code() == "busy" || e.code() == "journal_damaged") throw;
    return StepOutcome::failed("start", release.mask(fmt::format("service '{}': {}", service.name, e.what())));
  } catch (const Error& e) {
    return StepOutcome::failed("start", release.mask(fmt::format("service '{}': {}", service.name, e.what())));
  }
}

StepOutcome systemctl(const ReleaseContext& release, const Service& service, const std::string& verb, const StepGate& gate) {
  std::string name;
  try {
    name = release.text(service.systemd, "systemd of service '" + service.name + "'");
  } catch (const Error& e) {
    return StepOutcome::failed(verb, e.what());
  }
  if (verb != "stop") {
    StepOutcome reloaded = run_action(release, {{"systemctl", "daemon-reload"}, kSystemctl}, verb, gate);
    if (!reloaded.ok) return reloaded;
    run_action(release, {{"systemctl", "reset-failed", "--", name}, kSystemctl}, verb, gate);  // fails when it never failed
  }
  return run_action(release, {{"systemctl", verb, "--", name}, service.stop_deadline + kSystemctl}, verb, gate);
}

StepOutcome stop_service(const ReleaseContext& release, const Service& service, const StepGate& gate) {
  if (!service.run.empty()) return stop_run(release, service, gate);
  if (!service.systemd.empty()) return systemctl(release, service, "stop", gate);
  return service.stop ? run_action(release, *service.stop, "stop", gate) : StepOutcome{true, "stop", ""};
}

StepOutcome start_service(const ReleaseContext& release, const Service& service, const StepGate& gate) {
  if (!service.run.empty()) {
    StepOutcome stopped = stop_run(release, service, gate);  // one is there when an earlier attempt was cut short
    return stopped.ok ? start_run(release, service, gate) : stopped;
  }
  if (!service.systemd.empty()) return systemctl(release, service, "restart", gate);  // starts it as well
  return service.start ? run_action(release, *service.start, "start", gate) : StepOutcome{true, "start", ""};
}

StepOutcome reload_service(const ReleaseContext& release, const Service& service, const StepGate& gate) {
  if (service.reload) return run_action(release, *service.reload, "reload", gate);
  if (!service.systemd.empty()) return systemctl(release, service, "reload", gate);
  return StepOutcome::failed("reload", fmt::format("service '{}' has no reload action", service.name));
}

// Does one program run both, so that the coming release's own restart can do it in one go?
bool same_kind(const Service& a, const Service& b) {
  return a.run.empty() == b.run.empty() && a.systemd == b.systemd && a.start.has_value() == b.start.has_value();
}

const Service* find_service(const ReleaseContext* release, const std::string& name) {
  if (!release) return nullptr;
  for (const auto& s : release->spec.services)
    if (s.name == name) return &s;
  return nullptr;
}

StepOutcome restart_service(const ReleaseContext* running, const Service* old, const ReleaseContext& coming, const Service& service,
                            SwitchManner manner, const StepGate& gate) {
  if (old && same_kind(*old, service)) {
    if (service.restart) return run_action(coming, *service.restart, "restart", gate);
    if (!service.systemd.empty()) return start_service(coming, service, gate);
  }
  if (old) {
    StepOutcome stopped = stop_service(*running, *old, gate);
    if (!stopped.ok && manner == SwitchManner::forward) return stopped;
  }
  return start_service(coming, service, gate);
}

}  // namespace

void reserve_services(const ReleaseContext& release) {
  for (const auto& s : release.spec.services)
    if (!s.run.empty()) reserve_note(release.unit, s.name);
}

bool only_config_differs(const ReleaseContext& a, const ReleaseContext& b) {
  auto services = [](const UnitSpec& spec) {
    json::object o = to_json(spec);
    auto found = o.find("services");
    return found == o.end() ? json::value() : found->value();
  };
  if (services(a.spec) != services(b.spec)) return false;
  auto fixed = [](const Tree& tree) {
    std::vector<const TreeEntry*> out;
    for (const auto& e : tree.entries)
      if (e.path != "config" && e.path.rfind("config/", 0) != 0) out.push_back(&e);
    return out;
  };
  auto left = fixed(a.release.tree), right = fixed(b.release.tree);
  return std::equal(left.begin(), left.end(), right.begin(), right.end(), [](const TreeEntry* x, const TreeEntry* y) {
    return x->path == y->path && x->kind == y->kind && x->mode == y->mode && x->digest == y->digest && x->target == y->target;
  });
}

ServiceSwitch switch_services(const ReleaseContext* running, const ReleaseContext* coming, SwitchManner manner, const StepGate& gate) {
  ServiceSwitch result;
  if (running)
    for (auto s = running->spec.services.rbegin(); s != running->spec.services.rend(); ++s) {
      if (find_service(coming, s->name)) continue;
      StepOutcome stopped = stop_service(*running, *s, gate);
      if (!stopped.ok && (manner == SwitchManner::forward || !coming)) return {stopped, false};
    }
  if (!coming) return result;
  bool repair = running && coming && running->release.id == coming->release.id;  // its processes are what may be wrong
  bool gentle = manner == SwitchManner::forward && running && !repair && only_config_differs(*running, *coming);
  for (const auto& service : coming->spec.services) {
    const Service* old = find_service(running, service.name);
    bool alive = !main_process_is_known(service) || main_process(*coming, service).has_value();
    if (gentle && old && alive && service.on_config_change == "none") {
      result.restarted_all = false;
      continue;
    }
    bool reload = gentle && old && alive && service.on_config_change == "reload" && (service.reload || !service.systemd.empty());
    if (reload) result.restarted_all = false;
    result.outcome = reload ? reload_service(*coming, service, gate) : restart_service(running, old, *coming, service, manner, gate);
    if (!result.outcome.ok) return result;
  }
  return result;
}

std::optional<std::string> ended_service(const ReleaseContext& release) {
  for (const auto& service : release.spec.services) {
    if (service.run.empty() || noted_process(release.unit, service.name, release.boot_id)) continue;
    auto last = last_noted(release.unit, service.name);
    auto end = last ? reap(last->pid) : std::nullopt;
    return fmt::format("service '{}' ended{}", service.name, end ? ": " + end->text() : "");
  }
  return std::nullopt;
}

std::optional<std::string> running_already(const ReleaseContext& coming) {
  for (const auto& service : coming.spec.services) {
    if (service.run.empty() && main_process_is_known(service)) {
      if (auto process = main_process(coming, service))
        return service.systemd.empty()
                   ? fmt::format("service '{}' runs (process {} of its pidfile)", service.name, process->pid)
                   : fmt::format("service '{}' runs (process {} of systemd unit '{}')", service.name, process->pid,
                                 coming.text(service.systemd, "systemd"));
    }
  }
  return std::nullopt;
}

}  // namespace ripcord
