// ssh-agent, asked without blocking (draft-miller-ssh-agent): which keys it holds, and signatures by them. One connection, one
// question at a time; what fails closes the connection, and the next question opens a new one.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/files.hpp"
#include "core/net/ssh_key.hpp"
#include "core/net/turns.hpp"

namespace ripcord {

class SshAgent : public std::enable_shared_from_this<SshAgent> {
 public:
  SshAgent(Loop& loop, Clock& clock, std::string socket_path);
  // Keys that can sign here (security keys and certificates are left out). LinkError agent_gone.
  Task<std::vector<std::shared_ptr<SshKey>>> keys(Elapsed deadline);
  Task<std::string> sign(std::string blob, std::string data, Elapsed deadline);  // the inner signature
  void let_go() { turns_.reset(); }  // of those who wait; nothing may be asked any more

 private:
  Task<std::string> ask(std::string request, Elapsed deadline);
  Task<std::string> exchange(std::string packet, Elapsed deadline);
  Task<> send_all(std::string bytes, Elapsed deadline);
  Task<std::string> receive(std::size_t count, Elapsed deadline);
  std::vector<std::shared_ptr<SshKey>> listed(const std::string& answer);
  void connect();
  void disconnect();

  Loop& loop_;
  Clock& clock_;
  std::string path_;
  std::unique_ptr<Turns> turns_ = std::make_unique<Turns>(1);
  Fd fd_;
  std::unique_ptr<FdWatch> watch_;
};

}  // namespace ripcord
