// Between the switch (a5) and the reply (a7) the unit's lock is free, so that the dead-man can act. Whatever a step starts in that
// time is noted under the lock, while the operation is still its own, before it executes: then the dead-man sees it and kills it.
// A step that finds its operation ended does not start. The way back itself holds the lock all along.
#pragma once
#include <functional>
#include <string>

#include "core/base/process.hpp"
#include "manifests/host/history.hpp"
#include "manifests/host/lock.hpp"

namespace ripcord {

// The operation was ended by somebody else (the dead-man, a newer operation) while a step of it was under way.
class OperationEnded : public Error {
 public:
  explicit OperationEnded(OpState found);
  const OpState& found() const { return found_; }

 private:
  OpState found_;
};

class StepGate {
 public:
  StepGate(HostContext& host, UnitLayout unit, const UnitLock& held) : host_(host), unit_(std::move(unit)), held_(&held) {}
  // Without the lock: every start checks that `op` is activated and not ended.
  StepGate(HostContext& host, UnitLayout unit, std::string op) : host_(host), unit_(std::move(unit)), op_(std::move(op)) {}

  HostContext& host() const { return host_; }
  const UnitLayout& unit() const { return unit_; }
  void note(const std::function<void()>& write) const;  // OperationEnded
  void check() const;                                   // cheap, without the lock; OperationEnded
  bool holds_lock() const { return held_ != nullptr; }

 private:
  HostContext& host_;
  UnitLayout unit_;
  void require_own() const;
  const UnitLock* held_ = nullptr;
  std::string op_;
  mutable std::int64_t own_at_ = -1;  // size of the journal when the operation was last seen to be ours: appending is the only change
};

// The process group of the hook that runs now (<state>/units/<unit>/hook).
void reserve_hook(const UnitLayout& unit);  // so that it can be noted on a full disk
void note_hook(const UnitLayout& unit, const std::string& boot, const ProcessId& leader);
void forget_hook(const UnitLayout& unit);
void kill_hook(const UnitLayout& unit, const std::string& boot);  // whatever of it is left; nothing in another boot

}  // namespace ripcord
