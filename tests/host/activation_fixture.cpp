#include "tests/host/activation_fixture.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include "core/base/process.hpp"
#include "manifests/host/pending.hpp"
#include "manifests/host/slot_file.hpp"
#include "tests/support/catch.hpp"

namespace ripcord::test {

std::string host_program() {
  std::string sanitized = RIPCORD_BUILD_DIR "/ripcord-host-sanitized";
  return exists(sanitized) ? sanitized : RIPCORD_BUILD_DIR "/ripcord-host";
}

TestRelease still(const std::string& version, int files) {
  TestRelease r(version);
  r.file("code/data", "of " + version);
  r.file("code/conf", "conf of " + version);
  for (int i = 2; i < files; ++i) r.file(fmt::format("code/common/{}", i), fmt::format("the same everywhere {}", i));
  PlacedFile placed;
  placed.from = "conf";
  placed.to = "/etc/still.conf";
  r.manifest.spec.files = {placed};
  r.manifest.spec.health.min_healthy_time = Millis(0);
  return r;
}

TestRelease sleeper(const std::string& version, const std::string& script) {
  TestRelease r(version);
  r.file("code/bin/serve", "#!/bin/sh\necho started $RIPCORD_VERSION\n" + script + "\n", 0755);
  Service web;
  web.name = "web";
  web.run = {"bin/serve"};
  web.stop_deadline = Millis(2000);
  r.manifest.spec.services = {web};
  r.manifest.spec.health.min_healthy_time = Millis(400);  // long enough to see a service end that ends at once
  r.manifest.spec.health.healthy_deadline = Millis(3000);
  r.manifest.spec.health.interval = Millis(50);
  return r;
}

ActivationHost::ActivationHost() { host.program = host_program(); }

void ActivationHost::end_services() const {
  for (const auto& name : names_in(host.layout.units()))
    for (const auto& service : names_in(unit(name).state + "/services")) {
      auto slot = read_slot(unit(name).state + "/services/" + service);
      if (slot && slot->contains("pid")) {
        auto pid = static_cast<pid_t>(get_int(*slot, "pid"));
        signal_group(pid, SIGKILL);
        ::usleep(1000);
        reap(pid);
      }
    }
}

ActivateRequest ActivationHost::forward(const std::string& op, std::optional<ReleaseId> from, const ReleaseId& to,
                                        std::int64_t within_ms) const {
  ActivateRequest r;
  r.unit = ref();
  r.op = op, r.rollout = "r1", r.from = from, r.to = to;
  r.epoch = epoch, r.holder = "me", r.ledger_id = "ledger", r.who = "ann", r.why = "test";
  r.confirm_within_ms = within_ms;
  return r;
}

ActivateRequest ActivationHost::back(const std::string& op, std::optional<ReleaseId> from, std::optional<ReleaseId> to) const {
  ActivateRequest r = forward(op, from, ReleaseId{}, 0);
  r.to = to;
  r.forward = false;
  return r;
}

ReleaseId ActivationHost::deploy(const TestRelease& release) {
  auto staged = stage(release);
  std::string op = "deploy-" + std::to_string(++deployed_);
  auto reply = activate(host, forward(op, read_current(unit()).release, staged.release));
  INFO(reply.failed_step << ": " << reply.output << "\n" << reply.log_tail);
  REQUIRE(reply.healthy);
  REQUIRE(confirm_op(op).phase == OpPhase::confirmed);
  return staged.release;
}

std::string ActivationHost::current() const { return read_link(unit().current).value_or(""); }

std::optional<pid_t> ActivationHost::service_pid(const std::string& name) const {
  auto slot = read_slot(unit().state + "/services/" + name);
  if (!slot || !slot->contains("pid")) return std::nullopt;
  auto pid = static_cast<pid_t>(get_int(*slot, "pid"));
  return process_id(pid) ? std::optional(pid) : std::nullopt;
}

std::string ActivationHost::service_folder() const {
  auto pid = service_pid();
  auto cwd = pid ? read_link("/proc/" + std::to_string(*pid) + "/cwd").value_or("") : "";
  return cwd.substr(cwd.rfind('/') + 1);
}

std::string ActivationHost::to_look() const {
  return "; to look: readlink " + unit().current + "; tail -n 50 " + unit().state + "/logs/web.log; tail -n 5 " + unit().journal() +
         "; then pull the cord again";
}

std::string ActivationHost::log() const { return text_of(unit().state + "/logs/web.log"); }

void ActivationHost::kill_deadman() const {
  auto deadman = read_pending(unit())->deadman;
  ::kill(deadman.pid, SIGKILL);
  CHECK(wait_for([&] { reap(deadman.pid); return !is_alive(deadman); }, Millis(1000)));
}

bool ActivationHost::wait_for(const std::function<bool()>& test, Millis limit) const {
  for (Elapsed end = boot_now() + limit; boot_now() < end; ::usleep(20000))
    if (test()) return true;
  return test();
}

bool ActivationHost::nothing_left() const {
  for (const auto& name : names_in(unit().unit_root))
    if (name[0] == '.') return false;
  return !exists(unit().pending()) && !exists(unit().state + "/drained");
}

}  // namespace ripcord::test
