#include "core/base/async.hpp"

#include <boost/asio/async_result.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/use_awaitable.hpp>
#if defined(BOOST_ASIO_SEPARATE_COMPILATION)
#include <boost/asio/impl/src.hpp>
#endif

#include "core/base/clock.hpp"

namespace ripcord {

void spawn(Loop& loop, Task<> task, std::function<void(std::exception_ptr)> done) {
  asio::co_spawn(loop, std::move(task), [done = std::move(done)](std::exception_ptr e) {
    if (done) done(e);
    else if (e) std::rethrow_exception(e);
  });
}

void run_to_end(Loop& loop, Task<> task) {
  std::exception_ptr failure;
  bool over = false;
  spawn(loop, std::move(task), [&](std::exception_ptr e) {
    failure = e;
    over = true;
  });
  if (loop.stopped()) loop.restart();
  while (!over && loop.run_one() > 0) {
  }
  if (failure) std::rethrow_exception(failure);
}

// A waiter is resumed exactly once: by notify, by its deadline, or by the Signal's end.
struct Signal::Waiter {
  Waiter() : next(first) {
    if (next) next->previous = this;
    first = this;
  }
  ~Waiter() {
    (previous ? previous->next : first) = next;
    if (next) next->previous = previous;
  }
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;
  static thread_local Waiter* first;  // all of this thread, for abandon_waiters()
  Waiter *previous = nullptr, *next = nullptr;

  std::function<void(bool)> resume;
  Clock* clock = nullptr;
  Clock::TimerId timer = 0;

  void finish(bool notified) {
    if (!resume) return;
    if (timer) clock->cancel(timer);
    auto go = std::move(resume);
    resume = nullptr;
    go(notified);
  }
};

namespace {

// Suspends the current coroutine; `start` gets the function that resumes it (through the loop, never inline).
Task<bool> suspend(std::function<void(std::function<void(bool)>)> start) {
  auto initiate = [&start](auto handler) {
    auto shared = std::make_shared<decltype(handler)>(std::move(handler));
    auto resume = [shared](bool value) {
      auto executor = asio::get_associated_executor(*shared);
      asio::post(executor, [shared, value]() mutable { std::move (*shared)(value); });
    };
    start(resume);
  };
  bool value = co_await asio::async_initiate<const asio::use_awaitable_t<>, void(bool)>(initiate, asio::use_awaitable);
  co_return value;
}

}  // namespace

thread_local Signal::Waiter* Signal::Waiter::first = nullptr;

void Signal::abandon_all() {
  for (auto* w = Waiter::first; w;) {
    if (!w->resume) {
      w = w->next;
      continue;
    }
    if (w->timer) w->clock->cancel(w->timer);
    auto frame = std::move(w->resume);
    w->resume = nullptr;
    frame = nullptr;  // destroys the coroutine, which may take other waiters, and this one, with it
    w = Waiter::first;
  }
}

void abandon_waiters() { Signal::abandon_all(); }

Signal::~Signal() { notify_all(); }

void Signal::notify_all() {
  auto waiting = std::move(waiters_);
  waiters_.clear();
  for (auto& w : waiting) w->finish(true);
}

Task<> Signal::wait() {
  std::function<void(std::function<void(bool)>)> start = [this](std::function<void(bool)> resume) {
    auto w = std::make_shared<Waiter>();
    w->resume = std::move(resume);
    waiters_.push_back(std::move(w));
  };
  co_await suspend(start);
}

Task<bool> Signal::wait_until(Clock& clock, Elapsed deadline) {
  std::function<void(std::function<void(bool)>)> start = [this, &clock, deadline](std::function<void(bool)> resume) {
    auto w = std::make_shared<Waiter>();
    w->resume = std::move(resume);
    w->clock = &clock;
    std::weak_ptr<Waiter> weak = w;
    w->timer = clock.at(deadline, [this, weak] {
      auto due = weak.lock();
      if (!due || !due->resume) return;
      due->timer = 0;
      std::erase(waiters_, due);
      due->finish(false);
    });
    waiters_.push_back(std::move(w));
  };
  bool notified = co_await suspend(start);
  co_return notified;
}

Task<Slots::Held> Slots::acquire() {
  if (free_ > 0) {
    --free_;
  } else {
    auto mine = std::make_shared<Signal>();
    queue_.push_back(mine);
    co_await mine->wait();  // release() hands the slot over without freeing it
  }
  co_return Held(this);
}

void Slots::Held::release() {
  if (!slots_) return;
  auto* slots = slots_;
  slots_ = nullptr;
  if (slots->queue_.empty()) {
    ++slots->free_;
    return;
  }
  auto next = slots->queue_.front();
  slots->queue_.pop_front();
  next->notify_all();
}

void TaskGroup::spawn(Task<> task) {
  ++state_->running;
  ripcord::spawn(loop_, std::move(task), [state = state_](std::exception_ptr e) {
    if (e && !state->first) state->first = e;
    if (--state->running == 0) state->ended.notify_all();
  });
}

std::size_t TaskGroup::running() const { return state_->running; }

Task<> TaskGroup::join() {
  auto state = state_;
  while (state->running > 0) co_await state->ended.wait();
  if (state->first) std::rethrow_exception(std::exchange(state->first, nullptr));
}

// Readiness is counted, not flagged: with a flag, one waiter's start would wipe out what the other has not seen yet.
struct FdWatch::Impl : std::enable_shared_from_this<FdWatch::Impl> {
  Impl(Loop& loop, int fd) : descriptor(loop, fd) {}
  asio::posix::stream_descriptor descriptor;
  Signal ready;
  bool reading = false, writing = false;  // a wait is registered with the loop
  std::uint64_t reads = 0, writes = 0, wakes = 0;
  bool cancelled = false;

  void arm(bool write) {
    bool& armed = write ? writing : reading;
    if (armed) return;
    armed = true;
    auto self = shared_from_this();
    descriptor.async_wait(write ? asio::posix::stream_descriptor::wait_write : asio::posix::stream_descriptor::wait_read,
                          [self, write](boost::system::error_code ec) {
                            (write ? self->writing : self->reading) = false;
                            if (ec == asio::error::operation_aborted) return;
                            ++(write ? self->writes : self->reads);
                            self->ready.notify_all();
                          });
  }
};

FdWatch::FdWatch(Loop& loop, int fd) : impl_(std::make_shared<Impl>(loop, fd)) {}

FdWatch::~FdWatch() {
  impl_->cancelled = true;
  boost::system::error_code ignored;
  impl_->descriptor.cancel(ignored);
  impl_->descriptor.release();  // the owner closes it
  impl_->ready.notify_all();
}

void FdWatch::wake() {
  ++impl_->wakes;
  impl_->ready.notify_all();
}

void FdWatch::cancel() {
  impl_->cancelled = true;
  impl_->ready.notify_all();
}

Task<bool> FdWatch::wait(bool readable, bool writable, Clock& clock, Elapsed deadline) {
  auto impl = impl_;
  const auto reads = impl->reads, writes = impl->writes, wakes = impl->wakes;
  if (readable && !impl->cancelled) impl->arm(false);
  if (writable && !impl->cancelled) impl->arm(true);
  while (!impl->cancelled) {
    if ((readable && impl->reads != reads) || (writable && impl->writes != writes) || impl->wakes != wakes) co_return true;
    bool notified = co_await impl->ready.wait_until(clock, deadline);
    if (!notified) co_return false;
  }
  co_return false;
}

}  // namespace ripcord
