// Time, and the one timer queue. Nobody else reads a clock or makes a timer, so a rollout can run in virtual time.
//
// Two times: wall (what people mean: ledger entries, windows) and elapsed (CLOCK_BOOTTIME: deadlines, bakes within one
// process; it counts while the machine sleeps). A ManualClock is moved by its owner and fires what fell due, in order.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "core/base/async.hpp"
#include "core/base/text.hpp"

namespace ripcord {

struct WallTime {  // milliseconds since 1970-01-01 UTC
  std::int64_t ms = 0;
  auto operator<=>(const WallTime&) const = default;
  WallTime operator+(Millis d) const { return {ms + d.count()}; }
  Millis operator-(WallTime other) const { return Millis(ms - other.ms); }
};

struct Elapsed {  // microseconds on CLOCK_BOOTTIME; only differences mean anything
  std::int64_t us = 0;
  auto operator<=>(const Elapsed&) const = default;
  Elapsed operator+(Millis d) const { return {us + d.count() * 1000}; }
  Millis operator-(Elapsed other) const { return Millis((us - other.us) / 1000); }
};

std::string format_utc(WallTime t);              // "2026-11-20T12:00:00.123Z"
WallTime parse_utc(const std::string& text);     // the same form; Error otherwise

// For code without a Clock (the host program, a ledger's own stamp).
WallTime wall_now();
Elapsed boot_now();

class Clock {
 public:
  using TimerId = std::uint64_t;
  virtual ~Clock() = default;
  virtual WallTime wall() const = 0;
  virtual Elapsed elapsed() const = 0;
  // Calls `fire` on the loop at or after `when`, once. cancel() of a fired or unknown timer does nothing.
  TimerId at(Elapsed when, std::function<void()> fire);
  void cancel(TimerId id);

 protected:
  struct Due {
    TimerId id;
    std::function<void()> fire;
  };
  std::multimap<std::int64_t, Due> queue_;
  void fire_due(Elapsed now);  // runs everything due, earliest first
  virtual void head_changed() = 0;

 private:
  TimerId next_ = 1;
  std::map<TimerId, std::int64_t> when_;
};

class SystemClock : public Clock {
 public:
  explicit SystemClock(Loop& loop);
  ~SystemClock() override;
  WallTime wall() const override { return wall_now(); }
  Elapsed elapsed() const override { return boot_now(); }

 private:
  struct Timer;
  void head_changed() override;
  std::shared_ptr<Timer> timer_;
};

class ManualClock : public Clock {
 public:
  explicit ManualClock(WallTime start) : wall_(start) {}
  WallTime wall() const override { return wall_; }
  Elapsed elapsed() const override { return elapsed_; }
  void advance(Millis d);            // moves time forward by d, firing on the way
  bool advance_to_next();            // moves to the earliest timer and fires it; false when there is none
  void drop_timers();                // a killed process: those who waited are gone

 private:
  void head_changed() override {}
  void move_to(Elapsed to);
  WallTime wall_;
  Elapsed elapsed_{1000000};
};

// Suspends the calling coroutine until the clock reaches `when`.
Task<> sleep_until(Clock& clock, Elapsed when);

}  // namespace ripcord
