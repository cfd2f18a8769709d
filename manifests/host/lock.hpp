// One writer a unit: flock on <state>/units/<unit>/lock, held for a step, never while a session idles. The kernel lets it go with
// the process, so there are no stale locks. The file says who holds it, for people.
#pragma once
#include <string>

#include "core/base/files.hpp"
#include "manifests/host/host_context.hpp"

namespace ripcord {

class UnitLock {
 public:
  // Waits at most `wait`. HostFailure busy, naming the process and the operation that hold it. Makes the unit's state folder.
  // `purpose`: what it is taken for, one line ("activate op-17").
  UnitLock(HostContext& host, const UnitLayout& unit, const std::string& purpose, Millis wait = Millis(20000));
  // For the dead-man and recover(): false from held() instead of an exception.
  static bool is_held(const UnitLayout& unit);  // by somebody, now; opens nothing for writing
  UnitLock(UnitLock&&) = default;
  const std::string& unit() const { return unit_; }
  void release() { fd_.reset(); }
  bool held() const { return static_cast<bool>(fd_); }

 private:
  std::string unit_;
  Fd fd_;
};

}  // namespace ripcord
