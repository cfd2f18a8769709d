#include "plans/ledger/ledger_nearby.hpp"

#include <boost/asio/post.hpp>

#include <algorithm>
#include <mutex>
#include <thread>

#include "core/base/error.hpp"

namespace ripcord {
namespace {

// Far enough back for any rollout that is still open; a ledger of years must not be read for a cord that is pulled now.
constexpr std::int64_t kTail = 20000;

}  // namespace

// Shared with the thread, which may outlive everybody else.
struct LedgerNearby::State {
  std::mutex mutex;
  Loop* loop = nullptr;  // null: nobody listens any more
  std::unique_ptr<LedgerStore> store;
  std::string error, newest, open;
  bool open_aside = false;
  bool finished = false;  // loop's thread only
  Signal done;

  void read_tail(const std::string& unit) {
    auto size = store->size();
    auto from = std::max<std::int64_t>(0, size - kTail);
    for (const auto& e : store->read(from, static_cast<std::size_t>(kTail))) {
      auto kind = get_string_or(e.body, "kind", "");
      if (!kind.starts_with("rollout.") || get_string_or(e.body, "unit", "") != unit) continue;
      auto id = get_string_or(e.body, "rollout", "");
      note(e.body, kind, id);
    }
  }

  // What a convergence or a repair brings to a host is journalled there under the rollout that decided it.
  void note(const json::object& body, const std::string& kind, const std::string& id) {
    const bool aside = !get_string_or(body, "purpose", "").empty();
    if (kind == "rollout.started") open = id, open_aside = aside;
    if (kind == "rollout.started" && !aside) newest = id;
    if (kind == "rollout.ended" && open == id) open.clear();
  }
};

LedgerNearby::LedgerNearby(Loop& loop, Clock& clock, Opener opener, std::string unit, std::string who, std::string machine)
    : clock_(&clock), loop_(&loop), state_(std::make_shared<State>()), who_(std::move(who)), machine_(std::move(machine)) {
  if (!opener) {
    gone_ = true;
    trouble_ = "there is none on this machine";
    return;
  }
  state_->loop = &loop;
  std::thread([state = state_, opener = std::move(opener), unit = std::move(unit)] {
    std::unique_ptr<LedgerStore> store;
    try {
      store = opener();
      state->store = std::move(store);
      state->read_tail(unit);
    } catch (const std::exception& e) {
      state->error = e.what();
    }
    std::lock_guard lock(state->mutex);
    if (!state->loop) return;
    asio::post(*state->loop, [state] {
      state->finished = true;
      state->done.notify_all();
    });
  }).detach();
}

LedgerNearby::LedgerNearby(Ledger& ready, const std::string& unit) : state_(std::make_shared<State>()), ledger_(&ready) {
  state_->finished = true;
  for (const auto& e : ready.read(0)) {
    if (get_string_or(e.body, "unit", "") != unit) continue;
    state_->note(e.body, get_string_or(e.body, "kind", ""), get_string_or(e.body, "rollout", ""));
  }
}

LedgerNearby::~LedgerNearby() {
  std::lock_guard lock(state_->mutex);
  state_->loop = nullptr;
  // Its destructor waits for what is queued, and that is what did not come.
  if (gone_ && own_) (void)own_.release();
}

Task<Ledger*> LedgerNearby::within(Elapsed deadline) {
  while (!gone_ && !ledger_ && !state_->finished) {
    bool heard = co_await state_->done.wait_until(*clock_, deadline);
    if (!heard && !state_->finished) give_up("it did not answer in time");
  }
  co_return now();
}

Ledger* LedgerNearby::now() {
  if (gone_) return nullptr;
  if (ledger_ || !state_->finished) return ledger_;
  try {
    if (!state_->error.empty()) throw Error(state_->error);
    own_ = std::make_unique<Ledger>(*loop_, *clock_, std::move(state_->store), who_, machine_);
    ledger_ = own_.get();
  } catch (const Error& e) {
    give_up(e.what());
  }
  return ledger_;
}

const std::string& LedgerNearby::newest_rollout() const { return state_->newest; }
const std::string& LedgerNearby::open_rollout() const { return state_->open; }
bool LedgerNearby::open_is_aside() const { return state_->open_aside; }

void LedgerNearby::give_up(std::string why) {
  gone_ = true;
  ledger_ = nullptr;
  if (trouble_.empty()) trouble_ = std::move(why);
}

}  // namespace ripcord
