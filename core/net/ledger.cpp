#include "core/net/ledger.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "core/base/error.hpp"

namespace ripcord {
namespace {

constexpr std::array<const char*, 5> kOwnMembers{"seq", "prev", "time", "who", "machine"};

// A caller that waits for durability. Shared by the coroutine and the writer: either may be gone first.
struct Ticket {
  explicit Ticket(Loop& loop) : work(asio::make_work_guard(loop)) {}
  LedgerStore::Batch batch;                // the writer's until `finished`
  std::function<void(LedgerStore&)> job;   // instead of a batch
  std::exception_ptr failure;
  bool finished = false;     // loop thread only
  Signal done;
  asio::executor_work_guard<Loop::executor_type> work;
};

LedgerStore::Stamp stamp_for(json::object body, std::string time, std::string who, std::string machine) {
  for (const char* name : kOwnMembers)
    if (body.contains(name)) throw Error(fmt::format("a ledger entry may not bring its own member '{}'", name));
  return [body = std::move(body), time = std::move(time), who = std::move(who), machine = std::move(machine)](std::int64_t seq, const Digest& prev) {
    json::object line;
    line.reserve(body.size() + kOwnMembers.size());
    line["seq"] = seq;
    line["prev"] = prev.hex();
    line["time"] = time;
    line["who"] = who;
    line["machine"] = machine;
    for (const auto& [key, value] : body) line[key] = value;
    return json::serialize(line);
  };
}

}  // namespace

std::vector<LedgerEntry> LedgerStore::append(const std::vector<Stamp>& lines, const std::optional<Guard>& guard) {
  std::vector<Batch> one(1);
  one[0].lines = lines;
  one[0].guard = guard;
  append_all(one);
  if (one[0].refused) std::rethrow_exception(one[0].refused);
  return std::move(one[0].stored);
}

struct Ledger::Impl {
  Impl(Loop& l, Clock& c, std::unique_ptr<LedgerStore> s, std::string w, std::string m)
      : loop(l), clock(c), store(std::move(s)), who(std::move(w)), machine(std::move(m)) {}

  Loop& loop;
  Clock& clock;
  std::unique_ptr<LedgerStore> store;
  std::string who, machine;

  std::mutex mutex;
  std::condition_variable wake;
  std::vector<std::shared_ptr<Ticket>> queue;
  bool stopping = false;
  std::int64_t known_size = 0;   // entries that we appended or have reported as changed
  bool foreign = false;          // somebody else's entries lie before ours
  std::int64_t counter = 0;      // caller's thread only
  std::thread writer;

  // A batch is everything that was queued while the last commit ran.
  void write_until_stopped() {
    std::unique_lock lock(mutex);
    while (true) {
      wake.wait(lock, [this] { return stopping || !queue.empty(); });
      if (queue.empty()) return;
      auto tickets = std::exchange(queue, {});
      lock.unlock();
      std::vector<std::shared_ptr<Ticket>> jobs;
      auto first_job = std::stable_partition(tickets.begin(), tickets.end(), [](const auto& t) { return !t->job; });
      std::move(first_job, tickets.end(), std::back_inserter(jobs));
      tickets.erase(first_job, tickets.end());
      if (!tickets.empty()) commit(tickets);
      for (auto& ticket : jobs) run_job(std::move(ticket));
      lock.lock();
    }
  }

  void commit(std::vector<std::shared_ptr<Ticket>>& tickets) {
    std::vector<LedgerStore::Batch> batches;
    for (auto& t : tickets) batches.push_back(std::move(t->batch));
    std::exception_ptr failure;
    try {
      store->append_all(batches);
    } catch (...) {
      failure = std::current_exception();
    }
    for (std::size_t i = 0; i < tickets.size(); ++i) {
      auto ticket = std::move(tickets[i]);
      ticket->failure = failure ? failure : batches[i].refused;
      if (failure) batches[i].stored.clear();
      if (!ticket->failure) note_appended(batches[i].stored);
      ticket->batch = std::move(batches[i]);
      finish(std::move(ticket));
    }
  }

  void run_job(std::shared_ptr<Ticket> ticket) {
    try {
      ticket->job(*store);
    } catch (...) {
      ticket->failure = std::current_exception();
    }
    finish(std::move(ticket));
  }

  // The last reference must die on the loop's thread: the ticket holds a Signal.
  void finish(std::shared_ptr<Ticket> ticket) {
    asio::post(loop, [ticket = std::move(ticket)] {
      ticket->finished = true;
      ticket->work.reset();
      ticket->done.notify_all();
    });
  }

  Task<> on_own_thread(std::function<void(LedgerStore&)> job) {
    auto ticket = std::make_shared<Ticket>(loop);
    ticket->job = std::move(job);
    {
      std::lock_guard lock(mutex);
      queue.push_back(ticket);
      wake.notify_one();
    }
    while (!ticket->finished) co_await ticket->done.wait();
    if (ticket->failure) std::rethrow_exception(ticket->failure);
  }

  void note_appended(const std::vector<LedgerEntry>& stored) {
    if (stored.empty()) return;
    std::lock_guard lock(mutex);
    if (stored.front().seq > known_size) foreign = true;
    known_size = std::max(known_size, stored.back().seq + 1);
  }
};

Ledger::Ledger(Loop& loop, Clock& clock, std::unique_ptr<LedgerStore> store, std::string who, std::string machine, Writing writing)
    : impl_(std::make_unique<Impl>(loop, clock, std::move(store), std::move(who), std::move(machine))), id_(impl_->store->id()) {
  // Line 0 says where it was made; everything that is handed to hosts has it.
  if (auto origin = impl_->store->read(0, 1); !origin.empty())
    if (auto made_on = get_string_or(origin[0].body, "machine", ""); !made_on.empty()) id_ += "@" + made_on;
  impl_->counter = impl_->store->change_counter();
  impl_->known_size = impl_->store->size();
  if (writing == Writing::own_thread) impl_->writer = std::thread([impl = impl_.get()] { impl->write_until_stopped(); });
}

Ledger::~Ledger() {
  {
    std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
  }
  impl_->wake.notify_all();
  if (impl_->writer.joinable()) impl_->writer.join();
}

std::vector<LedgerStore::Stamp> Ledger::stamps(std::vector<json::object> bodies) const {
  std::vector<LedgerStore::Stamp> lines;
  std::string time = format_utc(impl_->clock.wall());
  for (auto& body : bodies) lines.push_back(stamp_for(std::move(body), time, impl_->who, impl_->machine));
  return lines;
}

Task<std::vector<LedgerEntry>> Ledger::append(std::vector<json::object> bodies, std::optional<LedgerStore::Guard> guard) {
  auto lines = stamps(std::move(bodies));
  co_return co_await append_stamped(std::move(lines), std::move(guard));
}

Task<std::vector<LedgerEntry>> Ledger::append_at(std::int64_t size, std::vector<json::object> bodies, std::optional<LedgerStore::Guard> guard) {
  auto lines = stamps(std::move(bodies));
  // Stamped inside the transaction that appends: nobody comes between this look and the write.
  lines.front() = [size, stamp = std::move(lines.front())](std::int64_t seq, const Digest& prev) {
    if (seq != size) throw LedgerMoved();
    return stamp(seq, prev);
  };
  co_return co_await append_stamped(std::move(lines), std::move(guard));
}

Task<std::vector<LedgerEntry>> Ledger::append_stamped(std::vector<LedgerStore::Stamp> lines, std::optional<LedgerStore::Guard> guard) {
  auto ticket = std::make_shared<Ticket>(impl_->loop);
  ticket->batch.lines = std::move(lines);
  ticket->batch.guard = std::move(guard);
  if (impl_->writer.joinable()) {
    std::lock_guard lock(impl_->mutex);
    impl_->queue.push_back(ticket);
    impl_->wake.notify_one();
  } else {
    std::vector<std::shared_ptr<Ticket>> now{ticket};
    impl_->commit(now);
  }
  while (!ticket->finished) co_await ticket->done.wait();
  if (ticket->failure) std::rethrow_exception(ticket->failure);
  co_return std::move(ticket->batch.stored);
}

std::vector<LedgerEntry> Ledger::read(std::int64_t from_seq, std::size_t limit) { return impl_->store->read(from_seq, limit); }

Task<std::vector<LedgerEntry>> Ledger::read_later(std::int64_t from_seq) {
  const std::size_t all = 100000;
  if (!impl_->store->remote() || !impl_->writer.joinable()) co_return read(from_seq, all);
  auto found = std::make_shared<std::vector<LedgerEntry>>();
  std::function<void(LedgerStore&)> job = [found, from_seq](LedgerStore& store) { *found = store.read(from_seq, all); };
  co_await impl_->on_own_thread(std::move(job));
  co_return std::move(*found);
}

Task<bool> Ledger::renew(Lease held, Millis ttl) {
  if (!impl_->store->remote() || !impl_->writer.joinable()) co_return impl_->store->renew(held, ttl);
  auto renewed = std::make_shared<bool>(false);
  std::function<void(LedgerStore&)> job = [renewed, held, ttl](LedgerStore& store) { *renewed = store.renew(held, ttl); };
  co_await impl_->on_own_thread(std::move(job));
  co_return *renewed;
}

bool Ledger::changed_elsewhere() {
  auto counter = impl_->store->change_counter();
  std::optional<std::int64_t> size;
  if (counter != impl_->counter) size = impl_->store->size();
  impl_->counter = counter;
  std::lock_guard lock(impl_->mutex);
  bool changed = std::exchange(impl_->foreign, false);
  if (size && *size > impl_->known_size) {
    impl_->known_size = *size;
    changed = true;
  }
  return changed;
}

LedgerStore& Ledger::store() { return *impl_->store; }

std::optional<std::int64_t> find_broken_link(const std::vector<LedgerEntry>& entries, const Digest& prev_of_first) {
  Digest prev = prev_of_first;
  std::int64_t expected = entries.empty() ? 0 : entries.front().seq;
  for (const auto& entry : entries) {
    if (entry.seq != expected) return expected;
    if (leaf_hash(entry.line) != entry.leaf) return entry.seq;
    try {
      auto line = parse_json_object(entry.line, "ledger entry");
      if (get_int(line, "seq") != entry.seq || get_string(line, "prev") != prev.hex()) return entry.seq;
    } catch (const Error&) {
      return entry.seq;
    }
    prev = entry.leaf;
    ++expected;
  }
  return std::nullopt;
}

}  // namespace ripcord
