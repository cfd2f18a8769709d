// How fast files are read when many are hashed: at most so many bytes a second together, by so many threads, and only as long as
// somebody wants to know.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>

#include "core/base/clock.hpp"

namespace ripcord {

class ReadPace {
 public:
  // rate: bytes a second, 0: no limit. `wanted` is asked now and then, by one thread at a time.
  ReadPace(int threads, std::uint64_t rate, std::function<bool()> wanted)
      : threads_(threads), rate_(rate), wanted_(std::move(wanted)), begin_(boot_now()) {}
  int threads() const { return threads_; }
  std::uint64_t bytes() const { return bytes_; }
  // After a chunk was read: sleeps as long as it was too fast. From any thread. False: nobody wants the rest.
  bool read(std::uint64_t bytes);

 private:
  int threads_;
  std::uint64_t rate_;
  std::function<bool()> wanted_;
  Elapsed begin_;
  std::atomic<std::uint64_t> bytes_{0};
  std::atomic<std::int64_t> asked_us_{0};
  std::atomic<bool> over_{false};
};

// As many as this process may use, at most eight: beyond that it is memory that limits.
int usable_cores();

}  // namespace ripcord
