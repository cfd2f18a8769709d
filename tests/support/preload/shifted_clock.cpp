// Preloaded into a program, this shifts its wall clock by SHIFTED_CLOCK_SECONDS: two machines whose clocks disagree, of which only one
// need be touched. The host program is static and has no such door, so it is the controller that is shifted.
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>

namespace {

long shift() {
  static const long seconds = [] {
    const char* text = std::getenv("SHIFTED_CLOCK_SECONDS");
    return text ? std::strtol(text, nullptr, 10) : 0L;
  }();
  return seconds;
}

}  // namespace

extern "C" int clock_gettime(clockid_t id, timespec* t) noexcept {
  long result = ::syscall(SYS_clock_gettime, id, t);
  if (result == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) t->tv_sec += shift();
  return static_cast<int>(result);
}

extern "C" time_t time(time_t* out) noexcept {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}

extern "C" int gettimeofday(timeval* t, void*) noexcept {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  if (t) *t = {now.tv_sec, now.tv_nsec / 1000};
  return 0;
}
