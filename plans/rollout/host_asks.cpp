#include "plans/rollout/host_asks.hpp"

namespace ripcord {

ActivateRequest request_for(const StepContext& c, bool forward) {
  ActivateRequest a;
  a.unit = c.spec.unit_ref();
  a.op = c.op;
  a.rollout = c.plan.journalled_as.empty() ? c.spec.id : c.plan.journalled_as;
  a.forward = forward;
  if (forward) {
    a.from = c.plan.from;
    a.to = c.plan.to;
    a.undo_to = c.plan.undo_to;
    a.confirm_within_ms = c.spec.confirm_within.count();
    a.demand_strong = c.spec.demand_strong_deadman;
  } else {
    a.from = c.plan.to;
    a.to = c.plan.from;
  }
  a.epoch = c.epoch;
  a.holder = c.holder;
  a.ledger_id = c.ledger_id;
  a.who = c.spec.who;
  a.why = c.spec.why;
  return a;
}

}  // namespace ripcord
