// Work that must not be felt by what the host is there for.
#pragma once
#include <functional>

namespace ripcord {

// Runs `work` to its end in a thread of its own that has this niceness and the idle I/O class, and so have the threads it starts; the
// caller's priority stays, so that a service started later in this process is not slow for ever. Rethrows what `work` threw.
void with_low_priority(int nice, const std::function<void()>& work);

}  // namespace ripcord
