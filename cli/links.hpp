// How a fleet file's `ssh:` becomes a link's settings.
#pragma once
#include "core/net/link_ssh.hpp"
#include "plans/files/fleet.hpp"

namespace ripcord::cli {

SshSettings ssh_settings(const Fleet& fleet);

}  // namespace ripcord::cli
