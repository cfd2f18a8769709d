#include "core/net/host_key.hpp"

#include "core/net/ssh_config.hpp"
#include "core/net/ssh_door.hpp"

namespace ripcord {

Task<ShownHostKey> fetch_host_key(Loop& loop, Clock& clock, SshSettings settings, HostAddress host) {
  if (!settings.known_hosts.empty()) settings.known_hosts = expand_tilde(settings.known_hosts);
  if (host.port == 0) host.port = settings.port;
  if (host.user.empty()) host.user = settings.user;
  SshConfig config(loop, clock, settings.config, settings.cache_dir);
  auto to = co_await config.resolve(host);
  SshDoor door(loop, clock, settings, config.config());
  auto shown = co_await door.knock(std::move(host), std::move(to));
  co_return shown;
}

}  // namespace ripcord
