// Where a ledger file may live. SQLite's locks and fsync mean nothing on network file systems, and a ledger that two machines
// believe they have locked is a broken chain.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ripcord {

// Creates the missing folders (0700) above `path`; Error when that folder is on a network file system.
void prepare_ledger_place(const std::string& path);

// The name of a network file system by statfs's f_type and, for FUSE, the type in /proc/self/mountinfo ("fuse.sshfs").
std::optional<std::string> network_file_system(std::uint64_t magic, std::string_view mount_type);

}  // namespace ripcord
