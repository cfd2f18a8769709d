// ProxyJump by way of OpenSSH: one master connection to each jump host, and `ssh -W` through it for every target. The master is
// ours alone (a control socket in a private folder) and ends by itself a minute after its last user, so a killed controller
// leaves nothing behind for long.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "core/base/files.hpp"
#include "core/net/link.hpp"

namespace ripcord {

struct JumpSettings {
  std::string config;       // -F; "" for ssh's own
  std::string identity, known_hosts;  // "" for what the config says
};

class SshJumps {
 public:
  SshJumps(Loop& loop, Clock& clock, JumpSettings settings);
  ~SshJumps();              // tells the masters to go, within a second
  struct Stream {
    Fd fd;                        // connected to the target's port, non-blocking
    std::shared_ptr<void> keep;   // the process behind it
  };
  // jump: as ProxyJump in ssh_config(5); of several hops the last is ours, ssh makes the others. LinkError connect_timeout,
  // jump_failed (with what ssh printed).
  Task<Stream> connect(std::string who, std::string jump, std::string target, int port, Elapsed deadline);

 private:
  struct Master;
  Task<> start(std::shared_ptr<Master> master, std::string who, Elapsed deadline);
  std::vector<std::string> command(const Master& master) const;
  Loop& loop_;
  Clock& clock_;
  JumpSettings settings_;
  std::string folder_;
  std::map<std::string, std::shared_ptr<Master>> masters_;
};

}  // namespace ripcord
