#include "plans/ledger/lease_keeper.hpp"

#include <fmt/format.h>

#include "core/base/error.hpp"

namespace ripcord {
namespace {

constexpr Millis kMargin{5000};

}  // namespace

void LeaseKeeper::acquire(Lease wanted, std::int64_t epoch_at_least, bool take_over) {
  Elapsed before = clock_.elapsed();
  auto scope = wanted.scope;
  auto holder = wanted.holder;
  taken_from_ = ledger_.store().lease(scope);
  if (taken_from_ && (taken_from_->holder == holder || taken_from_->holder.empty())) taken_from_.reset();
  auto got = ledger_.store().acquire(std::move(wanted), ttl_, epoch_at_least, take_over);
  if (!got) {
    auto other = ledger_.store().lease(scope);
    throw Error(other ? fmt::format("unit '{}' is held by {} on {} since {} for rollout {}{}", scope, other->who, other->machine,
                                    format_utc({other->acquired_ms}), other->rollout, other->why.empty() ? "" : " (" + other->why + ")")
                      : fmt::format("unit '{}' is held by another process", scope),
                fmt::format("nothing was changed; watch it with 'ripcord status {} -w', steer it with pause, promote, abort", scope), Exit::held);
  }
  lease_ = std::move(got);
  renewed_ = before;
  lost_ = false;
}

void LeaseKeeper::release() {
  if (!lease_) return;
  try {
    ledger_.store().release(*lease_);
  } catch (const Error&) {
    // it expires by itself
  }
  lease_.reset();
}

bool LeaseKeeper::valid() const { return lease_ && !lost_ && clock_.elapsed() - renewed_ < ttl_ - kMargin; }

Task<> LeaseKeeper::renew_if_due() {
  if (!lease_ || lost_ || clock_.elapsed() - renewed_ < every_) co_return;
  Elapsed before = clock_.elapsed();
  try {
    Lease held = *lease_;
    bool ours = co_await ledger_.renew(std::move(held), ttl_);
    if (ours) renewed_ = before;
    else lost_ = true;
  } catch (const Error& e) {
    if (e.exit() == Exit::integrity) throw;  // it is not the ledger that it was
    // It cannot be reached just now: valid() turns false by itself if that lasts.
  }
}

std::string ended_for(const Lease& held, const json::object& entry) {
  const auto kind = get_string(entry, "kind");
  const bool taken = kind == "rollout.taken_over", ended = kind == "rollout.ended" || kind == "drill.ended";
  if ((!taken && !ended) || get_int_or(entry, "epoch", 0) == held.epoch) return "";
  auto why = get_string_or(entry, "why", "");
  return fmt::format("{} on {} {} at {}{}", get_string_or(entry, "who", "?"), get_string_or(entry, "machine", "?"),
                     taken ? "took this rollout over" : "ended this rollout", get_string(entry, "time"), why.empty() ? "" : ": " + why);
}

json::object taken_over_entry(const Lease& before, WallTime now, const std::string& how) {
  return {{"kind", "rollout.taken_over"}, {"from_who", before.who}, {"from_machine", before.machine}, {"from_epoch", before.epoch},
          {"since", format_utc({before.acquired_ms})}, {"how", before.expires_ms <= now.ms ? "its lease had run out" : how}};
}

}  // namespace ripcord
