// Coroutines on one thread: Boost.Asio's awaitable and io_context under house names, and the few primitives we need.
// Rules that avoid g++ 12's coroutine bugs (a lint test enforces them): no lambda temporary, braced temporary or statement
// expression in a full expression with co_await; parameters by value, or references whose owner outlives the await.
#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace ripcord {

namespace asio = boost::asio;
template <class T = void>
using Task = asio::awaitable<T>;
using Loop = asio::io_context;

class Clock;
struct Elapsed;

// Starts a task on the loop. `done` gets the exception it ended with, or null; without `done` an exception ends the program
// (a bug: task roots catch what they expect).
void spawn(Loop& loop, Task<> task, std::function<void(std::exception_ptr)> done = {});

// Runs the loop until the task is over; rethrows what it threw. For main and for tests.
void run_to_end(Loop& loop, Task<> task);

// A condition to wait for. notify_all() resumes everybody who waits now; it is not remembered: test the state, then wait.
class Signal {
 public:
  Signal() = default;
  ~Signal();  // resumes waiters
  Signal(const Signal&) = delete;
  Signal& operator=(const Signal&) = delete;
  Task<> wait();
  Task<bool> wait_until(Clock& clock, Elapsed deadline);  // false: the deadline passed first
  void notify_all();
  static void abandon_all();  // see abandon_waiters()

 private:
  struct Waiter;
  std::vector<std::shared_ptr<Waiter>> waiters_;
};

// Destroys every coroutine of this thread that waits on a Signal, without resuming it: what a killed process leaves behind. A
// coroutine that waits on a Signal of its own keeps itself alive otherwise. For whoever gives a loop up before its tasks have ended.
void abandon_waiters();

// A fair counting semaphore: at most `slots` holders at once.
class Slots {
 public:
  explicit Slots(std::size_t slots) : free_(slots) {}
  class Held {  // RAII: gives the slot back
   public:
    explicit Held(Slots* slots) : slots_(slots) {}
    Held(Held&& other) noexcept : slots_(other.slots_) { other.slots_ = nullptr; }
    Held& operator=(Held&&) = delete;
    ~Held() { release(); }
    void release();

   private:
    Slots* slots_;
  };
  Task<Held> acquire();

 private:
  std::size_t free_;
  std::deque<std::shared_ptr<Signal>> queue_;
};

// Children of one parent coroutine: spawn any number, then join. join() rethrows the first exception after all have ended.
class TaskGroup {
 public:
  explicit TaskGroup(Loop& loop) : loop_(loop), state_(std::make_shared<State>()) {}
  void spawn(Task<> task);
  Task<> join();
  std::size_t running() const;

 private:
  struct State {
    std::size_t running = 0;
    std::exception_ptr first;
    Signal ended;
  };
  Loop& loop_;
  std::shared_ptr<State> state_;
};

// Waits until a descriptor is readable/writable, or a deadline. One FdWatch per descriptor; it does not own it. Several coroutines
// may wait at once. Used by everything that drives a non-blocking descriptor (libssh2 sockets, pipes of a child).
class FdWatch {
 public:
  FdWatch(Loop& loop, int fd);
  ~FdWatch();
  FdWatch(const FdWatch&) = delete;
  FdWatch& operator=(const FdWatch&) = delete;
  // True when one of the asked-for directions is ready (or the descriptor failed: the next call on it will say how);
  // false when the deadline passed or cancel() was called.
  Task<bool> wait(bool readable, bool writable, Clock& clock, Elapsed deadline);
  void wake();    // lets everybody who waits now look again (wait returns true): for what moved elsewhere than on the descriptor
  void cancel();  // wakes the waiters; from now on every wait returns false

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace ripcord
