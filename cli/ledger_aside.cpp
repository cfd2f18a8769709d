#include "cli/ledger_aside.hpp"

#include <fmt/format.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "cli/context.hpp"
#include "core/net/ledger_address.hpp"
#include "plans/ledger/spool.hpp"

namespace ripcord::cli {

struct LedgerAside::Shared {
  std::mutex mutex;
  std::condition_variable ended;
  bool over = false;
  std::string problem;
};

namespace {

Task<> merge_aside(Ledger& ledger, std::string folder) { co_await merge_spool(ledger, std::move(folder)); }

std::string merge_all(const Fleet& fleet, const std::string& folder, const std::string& who, const std::string& machine) {
  try {
    // One that is away comes back, and would not know what was written into another that was made in its place.
    if (!ledger_exists(fleet.ledger)) return fmt::format("there is no ledger '{}', and none is made for this", fleet.ledger);
    Loop loop;
    SystemClock clock(loop);
    Ledger ledger(loop, clock, open_ledger_of(fleet, Millis(2000)), who, machine);
    run_to_end(loop, merge_aside(ledger, folder));
    return "";
  } catch (const Error& e) {
    return e.message();
  } catch (const std::exception& e) {
    return std::string("unexpected: ") + e.what();
  }
}

}  // namespace

LedgerAside::LedgerAside(const Fleet& fleet, std::string folder, std::string who, std::string machine) : shared_(std::make_shared<Shared>()) {
  std::thread([shared = shared_, fleet, folder = std::move(folder), who = std::move(who), machine = std::move(machine)] {
    auto problem = merge_all(fleet, folder, who, machine);
    std::lock_guard lock(shared->mutex);
    shared->problem = std::move(problem);
    shared->over = true;
    shared->ended.notify_all();
  }).detach();
}

LedgerAside::~LedgerAside() = default;

std::string LedgerAside::wait(Millis within) {
  std::unique_lock lock(shared_->mutex);
  bool over = shared_->ended.wait_for(lock, within, [this] { return shared_->over; });
  return over ? shared_->problem : "it did not answer within " + format_duration(within);
}

}  // namespace ripcord::cli
