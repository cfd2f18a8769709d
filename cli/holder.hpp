// The name under which this process holds a lease. It says where the process lives, so that another one on the same machine can
// see that it has died (kill -9) and go on at once; the epoch fences it off all the same.
#pragma once
#include <string>

namespace ripcord::cli {

std::string holder_of_this_process();            // "<boot>-<pid namespace>-<pid>-<start>-<random>"
bool holder_is_gone(const std::string& holder);  // true only when it is sure: same boot, same namespace, no such process

}  // namespace ripcord::cli
