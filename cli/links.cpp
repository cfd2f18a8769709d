#include "cli/links.hpp"

#include <cstdlib>

#include "cli/context.hpp"
#include "core/net/link_local.hpp"
#include "core/net/link_ssh.hpp"

namespace ripcord::cli {

SshSettings ssh_settings(const Fleet& fleet) {
  SshSettings settings;
  settings.user = fleet.ssh.user;
  settings.port = fleet.ssh.port;
  settings.identity = fleet.ssh.identity;
  settings.known_hosts = fleet.ssh.known_hosts;
  settings.config = fleet.ssh.config;
  settings.timeouts = fleet.ssh.timeouts;
  settings.heartbeat = fleet.ssh.heartbeat;
  settings.max_handshakes = fleet.ssh.max_handshakes;
  settings.max_sessions = fleet.ssh.max_sessions;
  settings.cache_dir = fleet.folder + "/.ripcord/cache";
  return settings;
}

std::unique_ptr<Link> make_link(Loop& loop, Clock& clock, const Fleet& fleet) {
  auto program = find_host_program();
  if (fleet.link == Fleet::LinkKind::local) return make_local_link(loop, clock, std::move(program));
  std::vector<Program> programs;
  programs.push_back(std::move(program));
  return make_ssh_link(loop, clock, ssh_settings(fleet), std::move(programs));
}

}  // namespace ripcord::cli
