// Which keys to try at a host, in which order: the fleet's identity alone if it names one; else keys of the agent and of
// ssh_config's identity files as ssh would. Files are parsed and the agent is listed once per process.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/net/ssh_agent.hpp"
#include "core/net/ssh_config.hpp"
#include "core/net/ssh_key.hpp"
#include "core/net/turns.hpp"

namespace ripcord {

class KeyRing {
 public:
  KeyRing(Loop& loop, Clock& clock, std::string identity, std::string agent_socket)
      : loop_(loop), clock_(clock), identity_(std::move(identity)), agent_socket_(std::move(agent_socket)) {}
  ~KeyRing() {
    for (auto& [path, agent] : agents_)
      if (agent) agent->let_go();
  }
  // At least one key, else LinkError (ours): key_unreadable, agent_gone.
  Task<std::vector<std::shared_ptr<SshKey>>> keys_for(SshHostSettings settings, Elapsed deadline);

 private:
  struct FromFile {
    SshKeyFile file;
    std::string problem, hint;  // why it cannot be used
  };
  const FromFile& file(const std::string& path);
  Task<std::vector<std::shared_ptr<SshKey>>> agent_keys(std::string socket, Elapsed deadline);
  LinkError nothing_usable(const std::vector<std::string>& files, const std::string& agent_problem);

  Loop& loop_;
  Clock& clock_;
  std::string identity_, agent_socket_;
  std::map<std::string, FromFile> files_;
  std::map<std::string, std::shared_ptr<SshAgent>> agents_;
  std::map<std::string, std::vector<std::shared_ptr<SshKey>>> listed_;
  Turns listing_{1};
};

}  // namespace ripcord
