// What comes to be so, if not at once. The usual deadline is generous: many tests may share two processors.
#pragma once
#include <unistd.h>

#include "core/base/clock.hpp"

namespace ripcord::test {

template <class Condition>
bool eventually(Condition condition, Millis within = Millis(90000)) {
  for (Elapsed until = boot_now() + within; boot_now() < until; ::usleep(5000))
    if (condition()) return true;
  return condition();
}

}  // namespace ripcord::test
