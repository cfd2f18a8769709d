#include "manifests/host/low_priority.hpp"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <exception>
#include <thread>

namespace ripcord {
namespace {

// linux/ioprio.h; glibc has neither the call nor the names.
constexpr int kWhoProcess = 1, kClassShift = 13, kClassIdle = 3;

}  // namespace

void with_low_priority(int nice, const std::function<void()>& work) {
  std::exception_ptr failure;
  std::thread thread([&] {
    // On Linux both are properties of a thread (setpriority(2), NOTES), inherited by threads it starts. That they are refused
    // somewhere is no reason not to look.
    ::setpriority(PRIO_PROCESS, 0, nice);
    ::syscall(SYS_ioprio_set, kWhoProcess, 0, kClassIdle << kClassShift);
    try {
      work();
    } catch (...) {
      failure = std::current_exception();
    }
  });
  thread.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace ripcord
