// As core/base/files.hpp, for the host program's own state: failures carry the code that their errno deserves (no_space,
// read_only), because the controller acts on it.
#pragma once
#include <string>
#include <string_view>

namespace ripcord {

// mkdir -p; each created folder gets `mode` whatever the umask, and its parent is fsynced.
void make_own_dirs(const std::string& path, unsigned mode = 0700);
// Temporary file beside it, fsync, rename, fsync of the folder.
void write_own_file(const std::string& path, std::string_view bytes, unsigned mode = 0600);
void write_own_fd(int fd, std::string_view bytes, const std::string& path);
void fsync_own_dir(const std::string& path);
void rename_own(const std::string& from, const std::string& to);

}  // namespace ripcord
