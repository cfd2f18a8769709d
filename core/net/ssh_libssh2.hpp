// The one place that includes libssh2, and what both users of it need to know.
#pragma once
#include <libssh2.h>

#include <cstddef>

namespace ripcord {

inline constexpr std::size_t kSshPacket = 32768;       // data bytes in one packet, sshd's limit too
inline constexpr std::size_t kSshOutLimit = 65536;     // a writer waits while more than this has not reached the kernel
inline constexpr unsigned kSshWindow = 512 * 1024;     // what a host may send before we read: bounds memory for 1,000 sessions
inline constexpr std::size_t kSshErrorTail = 4096;

}  // namespace ripcord
