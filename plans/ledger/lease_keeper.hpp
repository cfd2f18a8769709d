// Holds a unit's lease for this process: renews it, and says at any moment whether it may still act. Validity is measured on
// CLOCK_BOOTTIME from the start of the last renewal and ends 5 s before the ledger would give the lease to another, so a holder
// that was stopped and continued does nothing.
#pragma once
#include <optional>
#include <string>

#include "core/net/ledger.hpp"

namespace ripcord {

class LeaseKeeper {
 public:
  LeaseKeeper(Clock& clock, Ledger& ledger, Millis ttl, Millis renew_every) : clock_(clock), ledger_(ledger), ttl_(ttl), every_(renew_every) {}

  // Error(Exit::held) naming who holds it, where, since when, why and for which rollout.
  void acquire(Lease wanted, std::int64_t epoch_at_least, bool take_over);
  void release();                      // best effort
  bool valid() const;
  Task<> renew_if_due();               // call often; loses the lease when the ledger says so. Error: the ledger lost entries
  const Lease& lease() const { return *lease_; }
  const std::optional<Lease>& taken_from() const { return taken_from_; }  // who had it before and had not given it back
  bool held() const { return lease_.has_value(); }
  LedgerStore::Guard guard() const { return {lease_->scope, lease_->holder, lease_->epoch}; }

 private:
  Clock& clock_;
  Ledger& ledger_;
  Millis ttl_, every_;
  std::optional<Lease> lease_, taken_from_;
  Elapsed renewed_;
  bool lost_ = false;
};

// Whether an entry of the rollout that `held` is for says that it is over for who holds that: somebody took it over, or ended it (the rip
// cord does). "": no; else who and when.
std::string ended_for(const Lease& held, const json::object& entry);

// The ledger's entry about it, kind rollout.taken_over. `how`: when `before` had not run out.
json::object taken_over_entry(const Lease& before, WallTime now, const std::string& how);

}  // namespace ripcord
