// One host while the cord is pulled: looked at, fenced, or brought back, as often as it takes when somebody else changes it meanwhile.
#pragma once
#include <optional>
#include <string>

#include "plans/hosts/supply.hpp"
#include "plans/rollback/rollback_plan.hpp"

namespace ripcord {

struct RollbackOrder {               // the same for every host
  UnitRef unit;
  std::string op, holder, ledger_id, who, why;
  std::string undoes;                // rollout
  std::optional<std::string> to_version;
  std::int64_t epoch = 0;            // a host that has seen a higher one gets the next above that
  Millis within{900000};
};

// One host, from the first look to its line in the table.
struct HostRun {
  HostLook look;
  bool answered = false, late = false;
  RollbackLine line;
  std::optional<Digest> manifest;    // of a target that is to be brought
  bool stranger = false;             // it never heard of the unit
  bool arrived = false;              // somebody else brought it there: only fenced
  int moves = 0;                     // operations it has answered
};

class RollbackSteps {
 public:
  RollbackSteps(Clock& clock, HostPorts& ports, Supplier& supplier) : clock_(clock), ports_(ports), supplier_(supplier) {}
  Task<> look(HostRun& h, const RollbackOrder& order, Verify how);
  // Does what the line says, and leaves in it what came of it. Never throws for a host.
  Task<> act(HostRun& h, const RollbackOrder& order);

 private:
  struct Answer;
  Task<Answer> ask(HostRun& h, const RollbackOrder& order, std::int64_t epoch);
  Task<bool> fence(HostRun& h, const RollbackOrder& order, std::int64_t epoch);
  Task<> go(HostRun& h, const RollbackOrder& order, std::int64_t epoch);
  Clock& clock_;
  HostPorts& ports_;
  Supplier& supplier_;
};

}  // namespace ripcord
