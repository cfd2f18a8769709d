// Links over SSH: non-blocking libssh2 on the event loop, one connection and one exec channel a host (docs/ssh.md).
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/net/link.hpp"

namespace ripcord {

struct SshSettings {
  std::string user;            // for hosts that name none; "": ssh_config's, else the login name
  int port = 0;                // for hosts that name none; 0: ssh_config's, else 22
  std::string identity;        // a key file; "": ssh_config's, ssh's defaults, the agent
  std::string known_hosts;     // the one file that counts; "": ssh_config's, else ssh's defaults
  std::string config;          // ssh_config; "": ~/.ssh/config if it exists; "none": none
  std::string agent_socket;    // "": IdentityAgent, else $SSH_AUTH_SOCK; "none": no agent
  std::string jump;            // ProxyJump for every host; "": ssh_config's
  std::string cache_dir;       // for answers of ssh -G; "": nothing is kept
  LinkTimeouts timeouts;
  Millis heartbeat{2000};      // while an answer is waited for something goes up at least this often; 0: nothing does
  Millis stall{30000};         // a write fails when nothing moved in either direction for this long
  int max_handshakes = 8;      // unauthenticated handshakes to one address at once (sshd's MaxStartups)
  int max_sessions = 64;       // sessions being opened at once, in all
  std::function<void(const HostAddress&, const LinkTimings&)> on_opened;  // may be empty
};

// programs: at least one; the first is tried first, another when the host says that it is of another architecture.
// Channels may outlive the link.
std::unique_ptr<Link> make_ssh_link(Loop& loop, Clock& clock, SshSettings settings, std::vector<Program> programs);

}  // namespace ripcord
