// `ripcord-host install <sha256>`: the program that was just written, run for the first time, puts itself where it belongs.
#pragma once
#include <string>

namespace ripcord {

// Started as <state>/helper/<sha256>.tmp-<anything>/ripcord-host: checks that it has that digest, makes itself durable and renames
// its folder to <state>/helper/<sha256>. When that is there already, it wins. HostFailure damaged, bad_request, no_space, read_only.
void install_program(const std::string& program, const std::string& sha256);

}  // namespace ripcord
