// What a request handler is given: where things lie, who and when we are, and where progress goes. Times go through it so that
// tests can have another boot id or a later hour.
#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "core/base/clock.hpp"
#include "manifests/host/host_failure.hpp"
#include "manifests/host/layout.hpp"
#include "manifests/shared/tree.hpp"

namespace ripcord {

struct HostContext {
  Layout layout;
  bool read_only = false;                       // --read-only: requests that write are refused with code read_only
  std::string program;                          // absolute path of the running helper, for timers and detached processes
  std::string boot_id;
  std::string arch;                             // uname -m
  std::function<WallTime()> wall = wall_now;
  std::function<Elapsed()> elapsed = boot_now;  // CLOCK_BOOTTIME
  std::function<void(std::string_view)> event = [](std::string_view) {};  // progress of the running request; never throws
  std::function<bool()> peer_gone = [] { return false; };                 // the controller hung up; cheap, may be polled

  static HostContext of_this_host(Layout layout);

  std::string host_id() const;                  // "" before the first writing use
  std::string ensure_host_id();                 // made durably when missing
  HostFacts facts(const Labels& journalled) const { return {journalled, arch}; }
  void ensure_unit_state(const UnitLayout& unit);  // <state>/units/<unit>, 0700, durable
};

}  // namespace ripcord
