#include "manifests/host/release_context.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include "manifests/host/account.hpp"
#include "manifests/host/step_gate.hpp"

namespace ripcord {

ReleaseContext ReleaseContext::load(const HostContext& host, const UnitLayout& unit, const ReleaseId& id, const UnitHistory& history) {
  auto release = require_release(unit, id);
  return of(host, unit, std::move(release), load_spec(unit, id.folder()), history);
}

ReleaseContext ReleaseContext::of(const HostContext& host, const UnitLayout& unit, StoredRelease release, UnitSpec spec, const UnitHistory& history) {
  ReleaseContext c;
  const auto& id = release.id;
  c.spec = std::move(spec);
  c.layout = host.layout;
  c.unit = unit;
  c.folder = unit.release(id.folder());
  c.boot_id = host.boot_id;
  c.labels = history.labels;
  c.variables = history.labels;
  c.variables["unit"] = unit.unit;
  c.variables["version"] = id.version;
  c.variables["release"] = c.folder;
  c.variables["current"] = unit.current;
  c.variables["shared"] = unit.shared;
  if (auto name = history.labels.find("host"); name != history.labels.end()) c.host_name = name->second;
  std::vector<std::string> secrets;
  for (const auto& file : c.spec.secrets) secrets.push_back(host.layout.on_host(file));
  c.mask = Mask(secrets);
  c.release = std::move(release);
  return c;
}

std::string ReleaseContext::text(const std::string& text, const std::string& where) const {
  return render(text, variables, fmt::format("{}@{}: {}", unit.unit, release.id.version, where));
}

Argv ReleaseContext::argv(const Argv& templates, const std::string& where) const {
  Argv out;
  for (const auto& t : templates) out.push_back(text(t, where));
  if (out.empty() || out[0].empty()) throw Error(fmt::format("{} names no program", where));
  if (out[0][0] != '/' && (out[0].find('/') != std::string::npos || exists(folder + "/" + out[0]))) out[0] = folder + "/" + out[0];
  return out;
}

std::vector<std::string> ReleaseContext::environment(const std::string& home) const {
  std::vector<std::string> env{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                               "HOME=" + home,
                               "RIPCORD_UNIT=" + unit.unit,
                               "RIPCORD_VERSION=" + release.id.version,
                               "RIPCORD_RELEASE=" + folder,
                               "RIPCORD_CURRENT=" + unit.current,
                               "RIPCORD_SHARED=" + unit.shared,
                               "RIPCORD_HOST=" + host_name};
  for (const auto& [name, value] : labels) {
    std::string key = "RIPCORD_LABEL_";
    for (char c : name) key += isalnum(static_cast<unsigned char>(c)) ? c : '_';
    env.push_back(key + "=" + value);
  }
  return env;
}

Command ReleaseContext::command(const Argv& rendered) const {
  return {.argv = rendered, .cwd = folder, .env = environment(own_account().home), .umask = 022};
}

Command ReleaseContext::command_as_owner(const Argv& rendered) const {
  Command c = command(rendered);
  if (spec.owner.empty() || ::geteuid() != 0) return c;
  Account account = find_account(spec.owner);
  c.env = environment(account.home);
  c.user = account.ids;
  return c;
}

StepOutcome run_action(const ReleaseContext& release, const Action& action, const std::string& step, const StepGate& gate) {
  constexpr std::size_t kKeep = 8192;
  try {
    Command c = release.command(release.argv(action.run, step));
    c.before_exec = [&](const ProcessId& leader) {
      gate.note([&] { note_hook(release.unit, release.boot_id, leader); });
    };
    RunResult r = run_process(c, action.deadline, kKeep);
    forget_hook(release.unit);
    if (r.ok()) return {true, step, ""};
    // Killed by the dead-man, perhaps, who has not journalled yet what it is at: its lock is waited for, and then the journal tells.
    if (r.signal == SIGKILL && !r.timed_out) gate.note([] {});
    std::string what = r.timed_out ? fmt::format("did not end within {} and was killed", format_duration(action.deadline)) : r.text();
    return StepOutcome::failed(step, release.mask(fmt::format("{} of {}@{}: '{}' {}", step, release.unit.unit, release.release.id.version,
                                                              join(c.argv, " "), r.timed_out ? what : "ended with " + what)) +
                                         "\n" + release.mask(r.output, r.truncated));
  } catch (const OperationEnded&) {
    throw;
  } catch (const HostFailure& e) {
    if (e.code() == "busy" || e.code() == "journal_damaged") throw;
    return StepOutcome::failed(step, release.mask(e.what()));
  } catch (const Error& e) {
    return StepOutcome::failed(step, release.mask(e.what()));
  }
}

}  // namespace ripcord
