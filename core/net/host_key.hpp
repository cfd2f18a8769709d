// The key that a host shows before anybody logs in, held against what known_hosts says about it: for `trust add`, which nobody has to be
// let in for.
#pragma once
#include <string>
#include <vector>

#include "core/net/known_hosts.hpp"
#include "core/net/link_ssh.hpp"

namespace ripcord {

struct ShownHostKey {
  std::string name;                 // as known_hosts writes it: "10.0.0.1", "[10.0.0.1]:2222"
  std::string type, fingerprint;    // "SHA256:…"
  std::string line;                 // for known_hosts
  HostKeyVerdict verdict = HostKeyVerdict::unknown;
  std::string known_file, known_fingerprint, known_type;  // of the line that decided; of another type when the key is unknown
  int known_line = 0;
  std::vector<std::string> files;   // that counted
};

// Connects and exchanges keys, and hangs up. LinkError as a link's; never one about the key itself.
Task<ShownHostKey> fetch_host_key(Loop& loop, Clock& clock, SshSettings settings, HostAddress host);

}  // namespace ripcord
