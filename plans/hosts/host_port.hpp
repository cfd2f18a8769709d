// One host, as the engine sees it: typed requests, one at a time. Real hosts are plans/hosts/wire_host.hpp; tests simulate them.
//
// Every call ends: with an answer, with LinkError (no answer; what the host did is unknown), or with HostRefusal (the host
// answered that it will not, and changed nothing beyond what its journal says).
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "core/base/async.hpp"
#include "core/net/link.hpp"
#include "manifests/shared/messages.hpp"

namespace ripcord {

class HostRefusal : public Error {
 public:
  explicit HostRefusal(HostError e)
      : Error(e.message, e.hint, e.code == "untrusted" ? Exit::integrity : e.code == "fenced" ? Exit::held : Exit::failed),
        code_(std::move(e.code)) {}
  const std::string& code() const { return code_; }

 private:
  std::string code_;
};

// Asking that host again would be of no use, or do harm: our own credentials, another host key, a login that was refused (servers penalise the
// address that tries again).
bool is_final(const LinkError& e);

struct Look {
  HelloReply hello;
  Observation unit;
};

struct HealthReport {
  bool healthy = false;
  std::string detail, failed_step, output, log_tail;
};

// A pack that many hosts get: compressed bytes in memory or mapped from a file.
struct Pack {
  std::string_view bytes;
  std::shared_ptr<const void> owner;
};

class HostPort {
 public:
  virtual ~HostPort() = default;
  virtual Task<Look> look(UnitRef unit, Verify verify, bool check_process) = 0;
  virtual Task<StageReply> stage_offer(StageOffer offer) = 0;
  virtual Task<StageReply> stage_pack(UnitRef unit, Pack pack) = 0;  // after stage_offer on the same session
  // `within`: the longest this may take. `on_step` hears "armed", "activated", "restarted", "healthy".
  virtual Task<ActivateReply> activate(ActivateRequest request, Millis within, std::function<void(std::string)> on_step) = 0;
  virtual Task<ActivateReply> finish(UnitRef unit, std::string op, Millis within) = 0;
  virtual Task<OpState> state(UnitRef unit, std::string op) = 0;
  // On a connection that was opened after the switch (INVARIANTS c1).
  virtual Task<OpState> confirm(UnitRef unit, std::string op, std::int64_t epoch, std::string holder) = 0;
  virtual Task<> fence(UnitRef unit, std::int64_t epoch, std::string holder, std::string ledger_id) = 0;
  // For the rip cord (Observation's back_ members). What runs is not verified. `version` empty: where undoing the newest forward
  // operation leads. The defaults, for simulated hosts, say nothing about the way back.
  virtual Task<Look> look_back(UnitRef unit, Verify how, std::string version);
  virtual Task<Look> fence_and_look(FenceRequest request);           // journals why, and tells what is there afterwards
  virtual Task<StageReply> mend(UnitRef unit, ReleaseId release);    // opens an offer, as stage_offer does
  virtual Task<HealthReport> health(UnitRef unit) = 0;
  virtual Task<json::object> ask(json::object request, Millis within) = 0;  // anything else in docs/protocol.md without data
  virtual Task<std::string> ask_data(json::object request, Millis within) = 0;  // reply's data frames, joined (at most 1 GiB)
  virtual void hang_up() = 0;  // drops the session; the next call opens another
};

// The hosts of a fleet. port() gives the same object for the same name each time.
class HostPorts {
 public:
  virtual ~HostPorts() = default;
  virtual HostPort& port(const std::string& host) = 0;
};

}  // namespace ripcord
