#include "core/base/clock.hpp"

#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>
#include <time.h>

#include <algorithm>

#include "core/base/error.hpp"

namespace ripcord {
namespace {

std::int64_t read_clock_us(clockid_t id) {
  timespec ts{};
  clock_gettime(id, &ts);
  return static_cast<std::int64_t>(ts.tv_sec) * 1000000 + ts.tv_nsec / 1000;
}

}  // namespace

WallTime wall_now() { return {read_clock_us(CLOCK_REALTIME) / 1000}; }
Elapsed boot_now() { return {read_clock_us(CLOCK_BOOTTIME)}; }

std::string format_utc(WallTime t) {
  std::int64_t seconds = t.ms / 1000, ms = t.ms % 1000;
  if (ms < 0) ms += 1000, --seconds;
  time_t s = seconds;
  tm parts{};
  gmtime_r(&s, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                     parts.tm_hour, parts.tm_min, parts.tm_sec, ms);
}

WallTime parse_utc(const std::string& text) {
  tm parts{};
  int ms = 0, used = 0;
  if (sscanf(text.c_str(), "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ%n", &parts.tm_year, &parts.tm_mon, &parts.tm_mday, &parts.tm_hour,
             &parts.tm_min, &parts.tm_sec, &ms, &used) != 7 ||
      used != static_cast<int>(text.size()))
    throw Error("'" + text.substr(0, 40) + "' is not a time like 2026-11-20T12:00:00.000Z");
  parts.tm_year -= 1900;
  parts.tm_mon -= 1;
  return {static_cast<std::int64_t>(timegm(&parts)) * 1000 + ms};
}

Clock::TimerId Clock::at(Elapsed when, std::function<void()> fire) {
  TimerId id = next_++;
  bool first = queue_.empty() || when.us < queue_.begin()->first;
  queue_.emplace(when.us, Due{id, std::move(fire)});
  when_.emplace(id, when.us);
  if (first) head_changed();
  return id;
}

void Clock::cancel(TimerId id) {
  auto found = when_.find(id);
  if (found == when_.end()) return;
  auto [begin, end] = queue_.equal_range(found->second);
  auto entry = std::find_if(begin, end, [&](const auto& e) { return e.second.id == id; });
  if (entry != end) queue_.erase(entry);
  when_.erase(found);
}

void Clock::fire_due(Elapsed now) {
  while (!queue_.empty() && queue_.begin()->first <= now.us) {
    auto fire = std::move(queue_.begin()->second.fire);
    when_.erase(queue_.begin()->second.id);
    queue_.erase(queue_.begin());
    fire();
  }
}

struct SystemClock::Timer : std::enable_shared_from_this<SystemClock::Timer> {
  Timer(Loop& loop, SystemClock* c) : timer(loop), clock(c) {}
  asio::steady_timer timer;
  SystemClock* clock;  // null once the clock is gone

  void arm(std::int64_t delay_us) {
    timer.expires_after(std::chrono::microseconds(std::max<std::int64_t>(delay_us, 0)));
    auto self = shared_from_this();
    timer.async_wait([self](boost::system::error_code ec) {
      if (ec || !self->clock) return;
      self->clock->fire_due(boot_now());
      if (self->clock && !self->clock->queue_.empty()) self->clock->head_changed();
    });
  }
};

SystemClock::SystemClock(Loop& loop) : timer_(std::make_shared<Timer>(loop, this)) {}

SystemClock::~SystemClock() {
  timer_->clock = nullptr;
  timer_->timer.cancel();
  // Whoever still waits is let go now: a task that a run cut short leaves suspended is destroyed with the loop, after the clock,
  // and would cancel its timer then.
  auto pending = std::move(queue_);
  queue_.clear();
  for (auto& [when, due] : pending) due.fire();
}

void SystemClock::head_changed() { timer_->arm(queue_.begin()->first - boot_now().us); }

void ManualClock::move_to(Elapsed to) {
  wall_ = wall_ + (to - elapsed_);
  elapsed_ = to;
}

void ManualClock::advance(Millis d) {
  Elapsed end = elapsed_ + d;
  while (!queue_.empty() && queue_.begin()->first <= end.us) advance_to_next();
  move_to(end);
}

bool ManualClock::advance_to_next() {
  if (queue_.empty()) return false;
  move_to(Elapsed{std::max(queue_.begin()->first, elapsed_.us)});
  fire_due(elapsed_);
  return true;
}

void ManualClock::drop_timers() {
  auto gone = std::move(queue_);  // destroying a waiter may cancel other timers
  queue_.clear();
}

Task<> sleep_until(Clock& clock, Elapsed when) {
  Signal never;
  co_await never.wait_until(clock, when);
}

}  // namespace ripcord
