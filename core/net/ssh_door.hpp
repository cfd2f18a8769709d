// From an address to a session that is logged in: connect (directly or through a jump host), key exchange, host key judged,
// user authenticated. One attempt, each leg with its deadline, and never more than a few strangers at one address.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/net/host_key.hpp"
#include "core/net/known_hosts.hpp"
#include "core/net/link_ssh.hpp"
#include "core/net/ssh_config.hpp"
#include "core/net/ssh_identity.hpp"
#include "core/net/ssh_jump.hpp"
#include "core/net/ssh_session.hpp"
#include "core/net/turns.hpp"

namespace ripcord {

class SshDoor {
 public:
  SshDoor(Loop& loop, Clock& clock, const SshSettings& settings, const std::string& config_file);
  // LinkError; "dropped" is worth another attempt. `timings` outlives the call.
  Task<std::shared_ptr<SshSession>> enter(HostAddress host, SshHostSettings to, LinkTimings* timings);

  // No further than the key exchange: what the host shows, believed or not.
  Task<ShownHostKey> knock(HostAddress host, SshHostSettings to);

 private:
  struct Shaken {
    std::shared_ptr<SshSession> session;
    std::vector<std::string> files;                // of known_hosts
    std::shared_ptr<const KnownHosts> known;       // keeps `lines` alive
    std::vector<const KnownKey*> lines;
    std::optional<Turns::Turn> stranger;                          // until it is known who it is
  };
  Task<Shaken> shake_hands(HostAddress host, SshHostSettings to, LinkTimings* timings);
  Task<std::shared_ptr<SshSession>> connect(HostAddress host, SshHostSettings to, std::string jump);
  void check_host_key(const HostAddress& host, const SshHostSettings& to, const std::vector<const KnownKey*>& lines,
                      const std::vector<std::string>& files, const std::string& blob) const;
  Task<> log_in(std::shared_ptr<SshSession> session, HostAddress host, SshHostSettings to);
  std::shared_ptr<const KnownHosts> known_hosts(const std::vector<std::string>& files);

  struct Indexed {
    std::string stamp;                 // sizes and times of the files: they are read again when somebody adds a key
    std::shared_ptr<const KnownHosts> hosts;
  };
  Loop& loop_;
  Clock& clock_;
  SshSettings settings_;
  KeyRing keys_;
  SshJumps jumps_;
  std::map<std::vector<std::string>, Indexed> known_;
  std::map<std::string, std::unique_ptr<Turns>> strangers_;  // by address: handshakes not yet authenticated
};

}  // namespace ripcord
