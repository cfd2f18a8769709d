#include "cli/unit_hold.hpp"

#include <fmt/format.h>

#include "cli/holder.hpp"
#include "cli/rollout_run.hpp"

namespace ripcord::cli {
namespace {

constexpr Millis kTtl{30000}, kRenew{10000};  // as a rollout's (INVARIANTS, "Ledger")

Task<> do_and_tell(Task<> work, bool& over, Signal& ended) {
  std::exception_ptr failed;
  try {
    co_await std::move(work);
  } catch (...) {
    failed = std::current_exception();
  }
  over = true;
  ended.notify_all();
  if (failed) std::rethrow_exception(failed);
}

Task<> keep_held(Clock& clock, LeaseKeeper& keeper, bool& over, Signal& ended) {
  while (!over) {
    Elapsed next = clock.elapsed() + Millis(1000);
    (void)co_await ended.wait_until(clock, next);
    if (!over) co_await keeper.renew_if_due();
  }
}

Task<> both(Loop& loop, Clock& clock, LeaseKeeper& keeper, Task<> work) {
  bool over = false;
  Signal ended;
  TaskGroup group(loop);
  group.spawn(do_and_tell(std::move(work), over, ended));
  group.spawn(keep_held(clock, keeper, over, ended));
  co_await group.join();
}

}  // namespace

UnitHold::UnitHold(Context& c, const std::string& unit, const std::string& what, const std::string& why, std::int64_t epoch_at_least)
    : context_(c), keeper_(c.clock(), c.ledger(), kTtl, kRenew) {
  Lease wanted;
  wanted.scope = unit;
  wanted.holder = holder_of_this_process();
  wanted.rollout = what;
  wanted.why = why;
  wanted.who = c.who();
  wanted.machine = c.machine();
  keeper_.acquire(std::move(wanted), epoch_at_least, runner_of(c, unit).gone);
}

UnitHold::~UnitHold() { keeper_.release(); }

void UnitHold::run(Task<> work) {
  context_.wait(both(context_.loop(), context_.clock(), keeper_, std::move(work)));
}

void UnitHold::require_held() const {
  if (!keeper_.valid())
    throw Error(fmt::format("the lease of unit '{}' was lost meanwhile: another process took over, or this one was stopped for too long", keeper_.lease().scope),
                fmt::format("look at the hosts with `{}` before going on", context_.command("drift --unit " + keeper_.lease().scope)), Exit::held);
}

}  // namespace ripcord::cli
