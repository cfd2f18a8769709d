#include "core/net/ssh_agent.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

#include "core/base/ssh_wire.hpp"
#include "core/base/text.hpp"
#include "core/net/link.hpp"

namespace ripcord {
namespace {

constexpr char kRequestIdentities = 11, kIdentities = 12, kSignRequest = 13, kSignResponse = 14;
constexpr std::uint32_t kRsaSha256 = 2;          // flag of a sign request
constexpr std::uint32_t kReplyLimit = 256 * 1024;  // as ssh-agent's own

LinkError gone(const std::string& path, const std::string& why) {
  return LinkError(LinkFault::ours, "agent_gone", fmt::format("the ssh-agent at '{}' {}", path, why),
                   "start an agent and add the key (eval $(ssh-agent); ssh-add), or name a key file without passphrase as identity");
}

class AgentKey : public SshKey {
 public:
  AgentKey(std::shared_ptr<SshAgent> agent, std::string blob, const std::string& comment)
      : SshKey(std::move(blob), "agent: " + escape_terminal(comment)), agent_(std::move(agent)) {}
  Task<std::string> sign(std::string data, Elapsed deadline) override {
    std::string signature = co_await agent_->sign(blob(), std::move(data), deadline);
    co_return signature;
  }

 private:
  std::shared_ptr<SshAgent> agent_;
};

bool supported(std::string_view type) {
  return type == "ssh-ed25519" || type == "ssh-rsa" || type == "ecdsa-sha2-nistp256" || type == "ecdsa-sha2-nistp384" ||
         type == "ecdsa-sha2-nistp521";
}

}  // namespace

SshAgent::SshAgent(Loop& loop, Clock& clock, std::string socket_path) : loop_(loop), clock_(clock), path_(std::move(socket_path)) {}

void SshAgent::connect() {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path_.size() >= sizeof address.sun_path) throw gone(path_, "has too long a path");
  std::memcpy(address.sun_path, path_.c_str(), path_.size() + 1);
  fd_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd_ || ::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    std::string why = "does not answer: " + errno_text(errno);  // EAGAIN: its queue is full, as good as gone
    fd_.reset();
    throw gone(path_, why);
  }
  watch_ = std::make_unique<FdWatch>(loop_, fd_.get());
}

void SshAgent::disconnect() {
  watch_.reset();
  fd_.reset();
}

Task<> SshAgent::send_all(std::string bytes, Elapsed deadline) {
  std::size_t at = 0;
  while (at < bytes.size()) {
    ssize_t n = ::send(fd_.get(), bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) {
      at += static_cast<std::size_t>(n);
      continue;
    }
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno != EAGAIN) throw gone(path_, "hung up: " + errno_text(errno));
    bool in_time = co_await watch_->wait(false, true, clock_, deadline);
    if (!in_time) throw gone(path_, "does not answer in time");
  }
}

Task<std::string> SshAgent::receive(std::size_t count, Elapsed deadline) {
  std::string bytes(count, '\0');
  std::size_t at = 0;
  while (at < count) {
    ssize_t n = ::recv(fd_.get(), bytes.data() + at, count - at, MSG_DONTWAIT);
    if (n > 0) {
      at += static_cast<std::size_t>(n);
      continue;
    }
    if (n == 0) throw gone(path_, "hung up");
    if (errno == EINTR) continue;
    if (errno != EAGAIN) throw gone(path_, "hung up: " + errno_text(errno));
    bool in_time = co_await watch_->wait(true, false, clock_, deadline);
    if (!in_time) throw gone(path_, "does not answer in time");
  }
  co_return bytes;
}

Task<std::string> SshAgent::exchange(std::string packet, Elapsed deadline) {
  if (!fd_) connect();
  co_await send_all(std::move(packet), deadline);
  std::string header = co_await receive(4, deadline);
  std::uint32_t size = SshReader(header, "the agent's answer").u32();
  if (size == 0 || size > kReplyLimit) throw gone(path_, "answers nonsense");
  std::string answer = co_await receive(size, deadline);
  co_return answer;
}

Task<std::string> SshAgent::ask(std::string request, Elapsed deadline) {
  auto self = shared_from_this();
  auto turn = co_await turns_->next();
  std::string packet;
  put_string(packet, request);
  std::exception_ptr failed;
  try {
    std::string answer = co_await exchange(std::move(packet), deadline);
    co_return answer;
  } catch (...) {
    failed = std::current_exception();
  }
  disconnect();  // an answer that comes late would be taken for the next question's
  std::rethrow_exception(failed);
}

Task<std::vector<std::shared_ptr<SshKey>>> SshAgent::keys(Elapsed deadline) {
  std::string request(1, kRequestIdentities);
  std::string answer = co_await ask(std::move(request), deadline);
  if (answer[0] != kIdentities) throw gone(path_, "refuses to list its keys (is it locked?)");
  try {
    co_return listed(answer);
  } catch (const Error&) {
    throw gone(path_, "answers nonsense");
  }
}

std::vector<std::shared_ptr<SshKey>> SshAgent::listed(const std::string& answer) {
  std::vector<std::shared_ptr<SshKey>> out;
  SshReader reader(answer, "the agent's list of keys");
  reader.byte();
  for (std::uint32_t left = reader.u32(); left > 0; --left) {
    std::string blob(reader.string()), comment(reader.string());
    auto key = std::make_shared<AgentKey>(shared_from_this(), std::move(blob), comment);
    if (supported(key->type())) out.push_back(std::move(key));
  }
  return out;
}

Task<std::string> SshAgent::sign(std::string blob, std::string data, Elapsed deadline) {
  SshReader key(blob, "key");
  auto key_type = key.string();
  std::string request(1, kSignRequest);
  put_string(request, blob);
  put_string(request, data);
  put_u32(request, key_type == "ssh-rsa" ? kRsaSha256 : 0);
  std::string answer = co_await ask(std::move(request), deadline);
  if (answer[0] != kSignResponse)
    throw LinkError(LinkFault::ours, "agent_gone", fmt::format("the ssh-agent at '{}' refuses to sign", path_),
                    "it may be locked, the key removed, or its confirmation denied: ssh-add -l");
  try {
    SshReader reader(std::string_view(answer).substr(1), "the agent's signature");
    SshReader signature(reader.string(), "the agent's signature");
    signature.string();  // the algorithm: ours by the flag
    std::string inner(signature.string());
    co_return inner;
  } catch (const Error&) {
    throw gone(path_, "answers nonsense");
  }
}

}  // namespace ripcord
