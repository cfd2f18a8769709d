// A host in a folder with a real program behind its dead-man switch, and releases with real processes.
#pragma once
#include "manifests/host/activation.hpp"
#include "tests/host/test_host.hpp"

namespace ripcord::test {

// The built program; the sanitized one where there is one.
std::string host_program();

// Service 'web': a shell that writes "started <version>" to its log and sleeps, with its folder in the release.
TestRelease sleeper(const std::string& version, const std::string& script = "exec sleep 1000");
// A release without processes: what is disturbed is the journal, links and files. Its placed file is /etc/still.conf.
TestRelease still(const std::string& version, int files = 3);

inline bool terminal(OpPhase p) { return p == OpPhase::reverted || p == OpPhase::failed_unchanged || p == OpPhase::needs_operator; }

struct ActivationHost : TestHost {
  ActivationHost();
  ~ActivationHost() { end_services(); }
  void end_services() const;  // every process that the unit's services left

  std::int64_t epoch = 1;
  ActivateRequest forward(const std::string& op, std::optional<ReleaseId> from, const ReleaseId& to, std::int64_t within_ms = 60000) const;
  ActivateRequest back(const std::string& op, std::optional<ReleaseId> from, std::optional<ReleaseId> to) const;
  // Stages it, activates it from what is current, confirms it; checks that all of it went well.
  ReleaseId deploy(const TestRelease& release);
  OpState state(const std::string& op) { return operation_state(host, ref(), op); }
  OpState confirm_op(const std::string& op) { return confirm(host, ref(), op, epoch, "me"); }
  std::string current() const;                    // raw link target, "" when there is none
  std::optional<pid_t> service_pid(const std::string& name = "web") const;
  std::string service_folder() const;             // the release folder that the service's process lies in, by its cwd
  std::string to_look() const;                    // what a detail that asks for a person ends with
  std::string log() const;                        // of service web
  void kill_deadman() const;                      // of the operation that is pending; returns when it is gone
  bool wait_for(const std::function<bool()>& test, Millis limit) const;
  bool nothing_left() const;                      // no pending, links or old bytes of an operation

 private:
  int deployed_ = 0;
};

}  // namespace ripcord::test
