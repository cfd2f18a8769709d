// What ssh_config says about a host, as `ssh -G` prints it, so that Host patterns, Match and Include mean here exactly what they
// mean to ssh. Asked only where a config file is named or ~/.ssh/config exists; answers are kept on disk under a digest of
// everything they depend on, so a second run starts no process.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/net/link.hpp"
#include "core/net/turns.hpp"

namespace ripcord {

struct SshHostSettings {
  std::string hostname, user;
  int port = 22;
  std::vector<std::string> identity_files;        // expanded
  bool identities_only = false;
  std::string identity_agent;                     // a path; "none"; "": $SSH_AUTH_SOCK
  std::vector<std::string> known_hosts_files;     // expanded
  std::string host_key_alias, proxy_jump, proxy_command;
  std::optional<Millis> connect_timeout;
};

class SshConfig {
 public:
  // config: a path; "": ~/.ssh/config if it exists; "none": no file at all. cache_dir "": nothing is kept on disk.
  SshConfig(Loop& loop, Clock& clock, std::string config, std::string cache_dir);
  ~SshConfig();
  // The address's own user and port win over the file. Error when ssh cannot be run or rejects the file.
  Task<SshHostSettings> resolve(HostAddress host);
  const std::string& config() const;  // the file in use, "" when none
  std::size_t asked() const;          // how many times ssh -G ran

 private:
  struct State;
  std::shared_ptr<State> state_;
  Turns asking_;
};

// The pieces, for tests.
SshHostSettings parse_ssh_g(std::string_view output, const HostAddress& host);
// Every file the answer depends on, with content, as one digest; nullopt when that cannot be told (Match exec, an Include that
// depends on the host or the environment).
std::optional<Digest> ssh_config_digest(const std::vector<std::string>& files);

std::string home_folder();   // $HOME, else the password file's
std::string login_name();
std::string expand_tilde(std::string_view path);

}  // namespace ripcord
