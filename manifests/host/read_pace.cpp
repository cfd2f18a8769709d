#include "manifests/host/read_pace.hpp"

#include <sched.h>
#include <unistd.h>

#include <algorithm>

namespace ripcord {
namespace {

constexpr std::int64_t kAskEvery = 500000;   // microseconds
constexpr std::int64_t kLongestNap = 100000;

}  // namespace

bool ReadPace::read(std::uint64_t bytes) {
  auto total = bytes_ += bytes;
  while (!over_) {
    auto now = boot_now().us;
    auto asked = asked_us_.load();
    if (wanted_ && now - asked > kAskEvery && asked_us_.compare_exchange_strong(asked, now) && !wanted_()) over_ = true;
    if (rate_ == 0) break;
    auto due = begin_.us + static_cast<std::int64_t>(static_cast<double>(total) / static_cast<double>(rate_) * 1e6);
    if (due <= now) break;
    ::usleep(static_cast<useconds_t>(std::min(due - now, kLongestNap)));
  }
  return !over_;
}

int usable_cores() {
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::clamp(CPU_COUNT(&set), 1, 8);
}

}  // namespace ripcord
